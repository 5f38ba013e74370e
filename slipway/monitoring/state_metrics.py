"""The pins of the model store and the ends of runs as metrics, for alerts on what serves and on schedules.

What cannot be read keeps its last values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from slipway.errors import StoreError
from slipway.runs.record import Summary
from slipway.runs.store import SUMMARY
from slipway.runs.summary import read_record
from slipway.stores import storage
from slipway.stores.model_store import ModelStore

LOGGER = logging.getLogger(__name__)


class StateMetrics(Collector):
    """The stable versions of models, and when a run of each pipeline and module last ended.

    Of all models that are there when nobody names any. A run is read once: its end does not change.
    """

    def __init__(self, runs: str, store: ModelStore, models: Sequence[str] = ()) -> None:
        self._runs, self._store, self._models = runs, store, models
        self._pins: dict[str, int] = {}
        self._ended: set[str] = set()
        self._ends: dict[tuple[str, str, str], float] = {}

    def describe(self) -> list[GaugeMetricFamily]:
        """None beforehand: nothing is read before the first scrape."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is there now."""
        with _kept("the store's models", "be listed"):
            for model in self._models or self._store.models():
                with _kept(f"the pin of {model}", "be read"):
                    self._read_pin(model)
        with _kept("the runs", "be listed"):
            self._read_runs()
        # `app` is the label of the model's pods, as serving/manifests.py spells it.
        pinned = GaugeMetricFamily(
            "slipway_monitor_pinned", "1 of the stable version of a model.", labels=("model", "app", "version")
        )
        for model, version in self._pins.items():
            pinned.add_metric((model, model.replace("_", "-"), str(version)), 1)
        ended = GaugeMetricFamily(
            "slipway_monitor_run_end_timestamp_seconds",
            "When a run last ended in that state.",
            labels=("model", "pipeline", "state"),
        )
        for labels, seconds in self._ends.items():
            ended.add_metric(labels, seconds)
        yield from (pinned, ended)

    def _read_pin(self, model: str) -> None:
        for number, stage in self._store.stages(model).items():
            if stage == "stable":  # one at most
                self._pins[model] = number

    def _read_runs(self) -> None:
        names = [name for name in storage.list_names(self._runs) if name not in self._ended]
        with ThreadPoolExecutor(8) as threads:
            summaries = threads.map(lambda name: read_record(storage.join(self._runs, name), SUMMARY, Summary), names)
            for name, summary in zip(names, summaries, strict=True):
                if not summary:  # it is under way
                    continue
                self._ended.add(name)
                its = summary.lineage
                if not self._models or its.module in self._models:
                    labels = (its.module, its.pipeline, summary.state)
                    self._ends[labels] = max(summary.finished, self._ends.get(labels, 0.0))


@contextmanager
def _kept(what: str, how: str) -> Iterator[None]:
    """One that cannot be read leaves the others alone."""
    try:
        yield
    except StoreError as error:
        LOGGER.warning("%s cannot %s: %s", what, how, error)
