"""How well the versions answered the newest requests whose labels have come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.labels import encode_labels
from slipway.errors import DataError
from slipway.evaluation.results import OVERALL
from slipway.monitoring.columns import Column, compare_column
from slipway.monitoring.counts import count
from slipway.monitoring.label_shares import compare_labels
from slipway.monitoring.labels import REQUEST, SETTING, Joined, Labels, open_labels
from slipway.monitoring.log_reader import LogReader
from slipway.monitoring.requests import ANSWERS, answered_rows, predictions_of
from slipway.monitoring.result import Performance, WindowResult
from slipway.monitoring.sample import concatenated
from slipway.monitoring.scores import (
    Function,
    Labelled,
    deciding_metric,
    more_metrics,
    performance_signal,
    score,
    usable,
)
from slipway.monitoring.slices import SliceColumn, compare_slices, count_slices
from slipway.monitoring.window import Window, parse_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.evaluation.own import OwnMetric
    from slipway.monitoring.baseline import Baseline
    from slipway.monitoring.config import MonitorConfig


@dataclass
class _Found:
    """Requests of one version, window by window, newest first; `windows` are those that have labels.

    `share` is that of the smallest sample of a window.
    """

    windows: list[str] = field(default_factory=list)
    joined: list[Joined] = field(default_factory=list)
    share: float = 1.0

    @property
    def rows(self) -> int:
        return sum(one.rows.num_rows for one in self.joined)


def score_labels(
    result: WindowResult,
    window: Window,
    log_uri: str,
    baseline: Baseline,
    config: MonitorConfig,
    previous: WindowResult | None,
    own: Mapping[str, OwnMetric] = MappingProxyType({}),
) -> WindowResult:
    """The result with the performance of each version, the labels' drift, and whether the served version is worse.

    It is judged on the newest requests: of as many windows, up to `label_windows`, as hold `min_labels` together.
    Labels that cannot be read or joined are noted, and the rest of the result stands.
    """
    its = config.monitoring
    metric = deciding_metric(config.task, its, config.thresholds)
    if its.labels is None:
        return result
    try:
        with open_labels(its.labels, config.label, config.task, config.ingestion, its.key) as labels:
            log = LogReader(log_uri, result.model)
            found = _joined(result, window, log, labels, config, baseline.labels_by)
    except DataError as error:
        return result.model_copy(update={"notes": [*result.notes, f"no labels of {SETTING}: {error}"]})
    if not found:
        said = (
            f"none of the {labels.count:,} labels names a request of the last {its.label_windows} windows: "
            "they may be of older ones, or of another module, or their key may be another one (monitoring.key)"
            if labels.count
            else "no labels have come yet"
        )
        return result.model_copy(update={"notes": [*result.notes, said]})
    ordered = sorted(found, key=lambda version: (version != result.version, version))
    more = more_metrics(config, own)
    performance = [_performance(version, found[version], baseline, config, more) for version in ordered]
    performance = [one if one.version == result.version else _without_evaluation(one) for one in performance]
    notes = [
        f"metric {one.metric} of version {scored.version} cannot be computed on {one.labels:,} labels: {one.problem}"
        for scored in performance
        for one in scored.scores
        if one.problem
    ]
    if (least := min(one.share for one in found.values())) < 1:
        said = f"one request in {1 / least:.0f}, drawn by its key, is scored: there are very many requests"
        notes.append(said)
    changed: dict[str, object] = {"performance": performance, "notes": [*result.notes, *notes]}
    if result.version in found:
        same = previous if previous and previous.version == result.version else None
        rows = concatenated([one.rows for one in found[result.version].joined])
        changed["labels"], changed["label_slices"] = _labels_drift(rows, baseline, config, same)
        columns = dict(zip(rows.column_names, rows.columns, strict=True))
        changed["labels_by"] = compare_labels(
            columns, config.label.column, baseline.labels.cells, baseline.features, baseline.labels_by, its.threshold
        )
        is_new = previous is None or performance[0].rows not in {one.rows for one in previous.performance}
        overall = next(one for one in baseline.metrics if one.name == OVERALL)
        signal = performance_signal(metric, performance[0].scores, overall, its, is_new=is_new)
        changed["signals"] = [*result.signals, signal]
    return result.model_copy(update=changed)


def _labels_drift(
    rows: pa.Table, baseline: Baseline, config: MonitorConfig, previous: WindowResult | None
) -> tuple[Column, list[SliceColumn]]:
    """The labels that have come beside those of training, overall and within slices."""
    name, its, cells = config.label.column, config.monitoring, baseline.labels.cells
    before = previous.labels.counts if previous and previous.labels else None
    column = compare_column(
        name, count(rows[name], cells), rows[name], baseline.labels, before,
        threshold=its.threshold, columns=1, role="label", decides=False,
    )  # fmt: skip
    slices = count_slices(baseline.slices, dict(zip(rows.column_names, rows.columns, strict=True)), name, cells)
    earlier = previous.label_slices if previous else []
    return column, compare_slices(slices, baseline.slices, {name: column}, earlier, its.min_rows)


def _joined(
    result: WindowResult, window: Window, log: LogReader, labels: Labels, config: MonitorConfig, watched: Iterable[str]
) -> dict[int, _Found]:
    """The labelled requests by version, back to the window with which the served version has labels enough.

    They have the features of slices and of the key, and those that are `watched`.
    """
    its, length = config.monitoring, parse_length(config.monitoring.window)
    features = {*watched, *(name for one in config.slices for name in one), *its.key} - set(REQUEST)
    features |= {config.label.weight} if config.label.weight else set()
    found: dict[int, _Found] = defaultdict(_Found)
    for back in range(its.label_windows):
        asked = Window(window.start - back * length, window.end - back * length)
        for version, asked_rows in answered_rows(log, asked, features, its.key[0]).items():
            rows = asked_rows.rows
            if version is None or not set(its.key).issubset(rows.column_names):
                continue
            joined = labels.of(rows)
            found[version].joined.append(joined)
            found[version].share = min(found[version].share, asked_rows.share)
            if joined.rows.num_rows:
                found[version].windows.append(asked.name)
        if found[result.version].rows >= its.min_labels:
            break
    return {version: one for version, one in found.items() if one.rows}


def _performance(
    version: int, found: _Found, baseline: Baseline, config: MonitorConfig, more: Mapping[str, Function]
) -> Performance:
    rows = concatenated([one.rows for one in found.joined])
    predictions = predictions_of(rows, config.class_names if config.task == "multiclass" else ())
    weights = _weights(rows, config.label.weight)
    sound = usable(config.task, predictions)
    good = sound if weights is None else sound & (weights > 0)
    table = rows.filter(pa.array(good)).drop_columns(list(ANSWERS))
    labels = table[config.label.column]
    encoded = encode_labels(labels, config.task, config.class_names)
    scored = Labelled(encoded, predictions[good], table, None if weights is None else weights[good])
    scores = score(config.task, scored, config.slices, baseline.metrics, more) if table.num_rows else []
    return Performance(
        version=version,
        since=found.windows[-1],
        until=found.windows[0],
        labels=table.num_rows,
        missing=sum(one.missing for one in found.joined),
        repeated=sum(one.repeated for one in found.joined),
        duplicates=sum(one.duplicates for one in found.joined),
        contradictory=sum(one.contradictory for one in found.joined),
        unusable=int((~sound).sum()),
        scores=scores,
    )


def _without_evaluation(performance: Performance) -> Performance:
    """Of a version beside the served one, whose evaluation the baseline does not have."""
    scores = [score.model_copy(update={"evaluated": None}) for score in performance.scores]
    return performance.model_copy(update={"scores": scores})


def _weights(rows: pa.Table, name: str | None) -> NDArray[np.float64] | None:
    """How much each row counts, 0 where that is missing or no number; None where the rows do not have the column."""
    if name not in rows.column_names:
        return None
    values = pc.cast(rows[name], pa.float64(), safe=False) if not pa.types.is_string(rows[name].type) else None
    found = np.zeros(rows.num_rows) if values is None else np.asarray(pc.fill_null(values, 0.0))
    return np.where(np.isfinite(found) & (found > 0), found, 0.0)
