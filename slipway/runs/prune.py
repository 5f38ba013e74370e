"""Removes old local runs: their records, and the files that neither a kept run nor a version names.

Layout under the home: `runs/<run>/`, `artifacts/<kfp's run>/<step>/`, `sources/<digest>.json`,
`arguments/<digest>.json`, `checkpoints/<digest>/`, `cache/<key>.json`, `tuning/<module>/<key>/<data>/`. A run that is
served from the cache names artifacts of an older one, so artifacts, sources and arguments are kept by what names them,
not by the run that made them; and so are trials, with which a later run goes on. Nothing names a checkpoint, which a
stopped training leaves: it belongs to the last run that began before it was written.
"""

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slipway.runs.store import RunView, list_runs
from slipway.stores.model_store import ModelStore

DAY_SECONDS = 86_400
# A run makes its folder some seconds before its record.
_STARTING_SECONDS = 600
# A look ahead, since the home itself may lie below a folder `artifacts`: matches overlap then.
_NAMED = re.compile(
    r'(?=(artifacts/[^/"\\]+/[^/"\\?]+|(?:sources|arguments)/[0-9a-f]+\.json|tuning/[^/"\\]+/[0-9a-f]+/[0-9a-f]+))'
)


@dataclass(frozen=True)
class Prunable:
    """What can be removed, and its size in bytes; `inputs` are sources, arguments, checkpoints, trials."""

    runs: list[Path]
    artifacts: list[Path]
    inputs: list[Path]
    cache: list[Path]
    size: int


def find_prunable(home: Path, store: ModelStore, keep: int, older_than_days: float = 0.0) -> Prunable:
    """What can be removed from a home.

    Kept are running runs, the newest `keep` of each module in each pipeline, younger ones than `older_than_days`, the
    runs that pushed versions which the store still has, and those whose statistics the next run is compared with; and
    all artifacts and sources that any of these, or a version's manifest, names.

    Raises:
        StoreError: a version's manifest cannot be read, so what it names is unknown.
    """
    manifests = [version.manifest for model in store.models() for version in store.versions(model)]
    views = list_runs(home / "runs")
    before = time.time() - older_than_days * DAY_SECONDS
    kept = {manifest.lineage.run for manifest in manifests} | _compared_with(views)
    newer: Counter[tuple[str, str]] = Counter()
    for view in views:
        lineage = view.summary.lineage
        owner = (lineage.pipeline, lineage.module)
        if _may_run(view) or newer[owner] < keep or lineage.started > before:
            kept.add(view.name)
        newer[owner] += 1
    texts = [manifest.model_dump_json() for manifest in manifests]
    texts += [path.read_text(errors="replace") for name in kept for path in (home / "runs" / name).glob("*.json")]
    named = {path for text in texts for path in _NAMED.findall(text)}
    began = min((view.summary.lineage.started for view in views if _may_run(view)), default=float("inf"))

    def unnamed(pattern: str) -> list[Path]:
        found = [path for path in sorted(home.glob(pattern)) if path.relative_to(home).as_posix() not in named]
        return [path for path in found if path.stat().st_mtime < began]

    def owner_of(checkpoint: Path) -> str:
        written = max(path.stat().st_mtime for path in (checkpoint, *checkpoint.iterdir()))
        return next((view.name for view in views if view.summary.lineage.started <= written), "")

    artifacts = unnamed("artifacts/*/*")
    checkpoints = [path for path in unnamed("checkpoints/*") if owner_of(path) not in kept]
    runs = [Path(view.uri) for view in views if view.name not in kept]
    inputs = [*unnamed("sources/*.json"), *unnamed("arguments/*.json"), *checkpoints, *unnamed("tuning/*/*/*/")]
    cache = list(_stale(home / "cache", artifacts))
    return Prunable(runs, artifacts, inputs, cache, sum(map(_size, [*runs, *artifacts, *inputs, *cache])))


def prune(home: Path, store: ModelStore, keep: int, older_than_days: float = 0.0) -> Prunable:
    """Removes what `find_prunable` finds; returns what was removed."""
    found = find_prunable(home, store, keep, older_than_days)
    cache_size = sum(map(_size, found.cache))
    for entry in found.cache:
        entry.unlink(missing_ok=True)
    # Now the cache cannot serve what is removed; a run that it served since the first search names its artifacts.
    left = find_prunable(home, store, keep, older_than_days)
    for path in [*left.artifacts, *left.inputs, *left.runs]:
        path.unlink() if path.is_file() else shutil.rmtree(path)
    for run in {folder.parent for folder in left.artifacts}:
        with suppress(OSError):  # other steps of that run are kept
            run.rmdir()
    return Prunable(left.runs, left.artifacts, left.inputs, found.cache, left.size + cache_size)


def _may_run(view: RunView) -> bool:
    started = view.summary.lineage.started
    return view.state == "running" or (not view.steps and time.time() - started < _STARTING_SECONDS)


def _compared_with(views: Iterable[RunView]) -> set[str]:
    """The newest run of each module that succeeded, and the newest on other data: the next run is compared with one."""
    found: dict[tuple[str, str], str] = {}
    for view in views:
        summary = view.summary
        module = summary.lineage.module
        if view.state == "succeeded" and summary.statistics and sum(key[0] == module for key in found) < 2:
            found.setdefault((module, summary.data_digest), view.name)
    return set(found.values())


def _stale(cache: Path, removed: Iterable[Path]) -> Iterator[Path]:
    """Cache entries that name an artifact which is removed now, or does not exist."""
    going = set(removed)
    for entry in sorted(cache.glob("*.json")):
        named = [cache.parent / path for path in _NAMED.findall(entry.read_text()) if path.startswith("artifacts/")]
        if any(folder in going or not folder.is_dir() for folder in named):
            yield entry


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file())
