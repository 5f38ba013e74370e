"""The data sets that can be shown: the splits of a run, and the requests of a window that was watched.

Addresses name them `run/NAME/SPLIT` and `window/MODEL/START`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from console.records import view_own
from console.runs.artifacts import artifacts_of
from slipway.data.examples.dataset import SPLITS
from slipway.data.statistics.io import read_statistics
from slipway.monitoring.as_statistics import window_statistics
from slipway.monitoring.result import FILE, read_result
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorflow_metadata.proto.v0 import statistics_pb2

    from console.index.runs import RunEntry
    from pipelines.registry import Locations
    from slipway.runs.store import RunView

OFFERED = 40  # runs, and windows of each model
KEPT = 16  # statistics in memory
LOOK_SECONDS = 30  # between two looks at the same records in a bucket, each of which takes several requests
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:+-]{0,199}")


class UnknownError(LookupError):
    """What an address names is not there; the text says what is."""


@dataclass(frozen=True)
class Offer:
    """A data set that can be chosen."""

    reference: str
    text: str


def offers(state: Locations, runs: Iterable[RunEntry]) -> list[Offer]:
    """The splits of the newest runs with data, and the newest windows of each model."""
    with_data = islice((run for run in runs if run.rows), OFFERED)
    found = [Offer(f"run/{run.name}/{split}", f"{run.name}: {split}") for run in with_data for split in SPLITS]
    return found + [
        Offer(f"window/{model}/{start}", f"{model}, requests of {start}")
        for model, start in newest_windows(state.monitoring)
    ]


def judged_runs(runs: Iterable[RunEntry]) -> list[Offer]:
    """The newest runs with an evaluation."""
    judged = islice((run for run in runs if run.figures), OFFERED)
    return [Offer(run.name, f"{run.name} (version {run.version})" if run.version else run.name) for run in judged]


def read_set(
    state: Locations, reference: str, like: statistics_pb2.DatasetFeatureStatistics | None = None
) -> statistics_pb2.DatasetFeatureStatistics:
    """A data set, named for people; `like` tells a window's types.

    Raises:
        UnknownError: there is no such run, split or window.
        StoreError: it is damaged, or out of reach.
    """
    kind, owner, part = [*reference.split("/"), "", ""][:3]
    known = kind in ("run", "window") and _NAME.fullmatch(owner) and _NAME.fullmatch(part)
    if not known or reference.count("/") > 2:
        raise UnknownError(
            f"{reference[:200]!r} names no data set; there are run/NAME/train, run/NAME/eval and window/MODEL/START"
        )
    if kind == "window":
        return _read_window(state, owner, part, like)
    return _read_split(state, owner, part)


def read_run(state: Locations, name: str) -> RunView:
    """A run by its whole name; UnknownError if there is none."""
    view = _view(state, name, _look(state.runs)) if _NAME.fullmatch(name) else None
    if view is None:
        raise UnknownError(f"there is no run {name[:200]!r} in {state.runs}; it may have been removed")
    return view_own(state, name) if view.state == "running" else view


def find_artifact(view: RunView, name: str, when: str) -> str:
    """The URI of what a run left; UnknownError if it ended before, or left it outside of the environment."""
    if uri := artifacts_of(view).get(name):
        return uri
    raise UnknownError(
        f"run {view.name} has no {name} here: it ended before {when}, or left it outside of the environment"
    )


@lru_cache(KEPT)
def _view(state: Locations, name: str, _look: float) -> RunView | None:
    return view_own(state, name) if storage.exists(storage.join(state.runs, name)) else None


def newest_windows(monitoring: str) -> list[tuple[str, str]]:
    """Model and start of the newest windows of each model."""
    return _newest_windows(monitoring, _look(monitoring))


@lru_cache(KEPT)
def _newest_windows(monitoring: str, _look: float) -> list[tuple[str, str]]:
    found = []
    for model in storage.list_names(monitoring):
        starts = [name for name in storage.list_names(storage.join(monitoring, model)) if name[:1].isdigit()]
        found += [(model, start) for start in starts[:-OFFERED:-1]]
    return found


def _look(uri: str) -> float:
    """A number that is the same while what a bucket said still holds; on this machine each look is a new one."""
    return time.monotonic() // LOOK_SECONDS if storage.is_remote(uri) else time.monotonic()


def _read_split(state: Locations, run: str, split: str) -> statistics_pb2.DatasetFeatureStatistics:
    view = read_run(state, run)
    uri = find_artifact(view, view.summary.lineage.shows.statistics, "they were computed")
    known = _statistics(uri, view.summary.finished)
    if split not in known:
        raise UnknownError(f"run {run} has no split {split!r}; it has {', '.join(known)}")
    return known[split]


@lru_cache(KEPT)
def _statistics(uri: str, _finished: float) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    """By split. A run that goes on may write its statistics anew."""
    return {dataset.name: dataset for dataset in read_statistics(uri).datasets}


def _read_window(
    state: Locations, model: str, start: str, like: statistics_pb2.DatasetFeatureStatistics | None
) -> statistics_pb2.DatasetFeatureStatistics:
    folder = storage.join(state.monitoring, model, start)
    if not storage.exists(storage.join(folder, FILE)):
        raise UnknownError(f"no window of {model} starts at {start!r} in {state.monitoring}")
    return window_statistics(read_result(folder), f"requests of {start}", like)
