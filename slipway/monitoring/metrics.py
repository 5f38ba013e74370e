"""The newest window of each model as metrics for Prometheus, read when Prometheus asks.

What could not be read keeps its last values, and `slipway_monitor_readable` says so. The end of a window is a time and
no age: it grows old also where the monitor, or this exporter's storage, is gone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from slipway.errors import StoreError
from slipway.evaluation.results import OVERALL
from slipway.monitoring.columns import Column
from slipway.monitoring.history import newest_window
from slipway.monitoring.result import WindowResult
from slipway.stores import storage

LOGGER = logging.getLogger(__name__)
COLUMN = ("model", "column", "role", "decides")


class WindowMetrics(Collector):
    """The metrics of the models in a folder; of all that are there when nobody names any."""

    def __init__(self, folder: str, models: Sequence[str] = ()) -> None:
        self._folder, self._models = folder, models
        self._known: dict[str, WindowResult] = {}

    def describe(self) -> list[GaugeMetricFamily]:
        """None beforehand: nothing is read before the first scrape."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The newest windows, read anew."""
        readable = self._read()
        yield _family("readable", "Whether the windows could be read.", (), [((), readable)])
        yield from _families(list(self._known.values()))

    def _read(self) -> bool:
        """Reads the newest windows; one that cannot be read leaves the other models' alone."""
        readable = True
        try:
            models = self._models or storage.list_names(self._folder)
        except StoreError as error:
            LOGGER.warning("the windows cannot be listed: %s", error)
            return False
        for model in models:
            try:
                if newest := newest_window(storage.join(self._folder, model)):
                    self._known[model] = newest
            except StoreError as error:
                LOGGER.warning("the newest window of %s cannot be read: %s", model, error)
                readable = False
        return readable


def _families(windows: list[WindowResult]) -> Iterator[GaugeMetricFamily]:
    by_model = ("model",)
    of_window: dict[str, tuple[str, Sequence[float]]] = {
        "window_end_timestamp_seconds": ("End of the newest window.", [_seconds(one.end) for one in windows]),
        "window_seconds": (
            "Length of a window.", [_seconds(one.end) - _seconds(one.start) for one in windows]
        ),
        "version": ("The version that is watched.", [one.version for one in windows]),
        "requests": ("Requests of that version in the window.", [one.requests for one in windows]),
        "enough": ("Whether there were requests enough to tell.", [one.enough for one in windows]),
        "calls": ("Calls of the model.", [one.traffic.calls if one.traffic else math.nan for one in windows]),
        "failed_calls": ("Calls that failed.", [one.traffic.errors if one.traffic else math.nan for one in windows]),
        "notes": ("What could not be read or judged.", [len(one.notes) for one in windows]),
    }  # fmt: skip
    for name, (said, values) in of_window.items():
        yield _family(name, said, by_model, [((one.model,), it) for one, it in zip(windows, values, strict=True)])
    yield _family(
        "verdict", "1 of the verdict.", ("model", "verdict"), [((one.model, one.verdict), 1) for one in windows]
    )
    yield _family(
        "signal_level", "1 at the threshold of a cause; not there where too little is known to tell.",
        ("model", "cause"),
        [((one.model, its.cause), its.level) for one in windows for its in one.signals if its.enough],
    )  # fmt: skip
    columns = [(one.model, its) for one in windows for its in [*one.columns, one.labels] if its]
    of_column: dict[str, tuple[str, Sequence[float]]] = {
        "drift": ("Jensen-Shannon divergence from training.", [its.baseline.distance for _, its in columns]),
        "drift_bound": (
            "The divergence that counts as drift: the threshold, or chance.",
            [max(its.baseline.threshold, its.baseline.noise) for _, its in columns],
        ),
        "missing_share": ("Share of missing values.", [its.missing[0] for _, its in columns]),
        "broken": ("Whether the column is broken at its source.", [bool(its.broken) for _, its in columns]),
    }
    for name, (said, values) in of_column.items():
        labels = [_column(model, its) for model, its in columns]
        yield _family(name, said, COLUMN, list(zip(labels, values, strict=True)))
    yield from _performance(windows)


def _performance(windows: list[WindowResult]) -> Iterator[GaugeMetricFamily]:
    versions = [((one.model, str(its.version)), its) for one in windows for its in one.performance]
    by_version = ("model", "version")
    yield _family("labels", "Labels that performance is judged by.", by_version,
                  [(labels, its.labels) for labels, its in versions])  # fmt: skip
    yield _family("missing_labels", "Requests of these windows without a label so far.", by_version,
                  [(labels, its.missing) for labels, its in versions])  # fmt: skip
    scores = [((*labels, one.metric), one) for labels, its in versions for one in its.scores if one.slice == OVERALL]
    by_metric = (*by_version, "metric")
    of_metric: dict[str, tuple[str, Sequence[float | None]]] = {
        "score": ("The metric on the newest requests that have labels.", [one.value for _, one in scores]),
        "score_low": ("Lower end of its 95 % interval.", [one.interval and one.interval[0] for _, one in scores]),
        "score_high": ("Upper end of its 95 % interval.", [one.interval and one.interval[1] for _, one in scores]),
        "score_evaluated": ("The metric in the evaluation.", [one.evaluated for _, one in scores]),
    }
    for name, (said, values) in of_metric.items():
        known = [(labels, it) for (labels, _), it in zip(scores, values, strict=True) if it is not None]
        yield _family(name, said, by_metric, known)


def _family(
    name: str, said: str, labels: Sequence[str], values: Sequence[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"slipway_monitor_{name}", said, labels=labels)
    for own, value in values:
        family.add_metric(own, float(value))
    return family


def _column(model: str, column: Column) -> tuple[str, ...]:
    return model, column.name, column.role, "yes" if column.decides else "no"


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
