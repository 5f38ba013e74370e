"""How well the versions answered the newest requests whose labels have come."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.labels import encode_labels
from slipway.errors import DataError
from slipway.evaluation.results import OVERALL
from slipway.monitoring.columns import compare_column
from slipway.monitoring.counts import count
from slipway.monitoring.labels import REQUEST, Joined, join_labels, read_labels
from slipway.monitoring.requests import ANSWERS, Window, answered_rows, parse_length, predictions_of
from slipway.monitoring.result import Performance, WindowResult
from slipway.monitoring.sample import Sample, drawn
from slipway.monitoring.scores import Labelled, deciding_metric, performance_signal, score, usable

if TYPE_CHECKING:
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
        labels = read_labels(its.labels, config.label, config.task, config.ingestion, its.key)
        found = _joined(result, window, log_uri, labels, config)
    except DataError as error:
        return result.model_copy(update={"notes": [*result.notes, f"no labels: {error}"]})
    if not found:
        said = (
            f"none of the {labels.rows.num_rows:,} labels names a request of the last {its.label_windows} windows: "
            "they may be of older ones, or of another module, or their key may be another one (monitoring.key)"
            if labels.rows.num_rows
            else "no labels have come yet"
        )
        return result.model_copy(update={"notes": [*result.notes, said]})
    ordered = sorted(found, key=lambda version: (version != result.version, version))
    performance = [_performance(version, found[version], baseline, config) for version in ordered]
    changed: dict[str, object] = {"performance": performance}
    if (least := min(one.share for one in found.values())) < 1:
        said = f"one request in {1 / least:.0f}, drawn by its key, is scored, which is enough of so many"
        changed["notes"] = [*result.notes, said]
    if result.version in found:
        own = pa.chunked_array(
            [chunk for one in found[result.version].joined for chunk in one.rows[config.label.column].chunks]
        )
        before = previous.labels if previous and previous.version == result.version else None
        changed["labels"] = compare_column(
            config.label.column, count(own, baseline.labels.cells), own, baseline.labels,
            before.counts if before else None, threshold=its.threshold, columns=1, role="label", decides=False,
        )  # fmt: skip
        is_new = previous is None or performance[0].rows not in {one.rows for one in previous.performance}
        overall = next(one for one in baseline.metrics if one.name == OVERALL)
        signal = performance_signal(metric, performance[0].scores, overall, its, is_new=is_new)
        changed["signals"] = [*result.signals, signal]
    return result.model_copy(update=changed)


def _joined(
    result: WindowResult, window: Window, log_uri: str, labels: Sample, config: MonitorConfig
) -> dict[int, _Found]:
    """The labelled requests by version, back to the window with which the served version has labels enough."""
    its, length = config.monitoring, parse_length(config.monitoring.window)
    features = {name for one in config.slices for name in one} | (set(its.key) - set(REQUEST))
    found: dict[int, _Found] = defaultdict(_Found)
    for back in range(its.label_windows):
        asked = Window(window.start - back * length, window.end - back * length)
        for version, asked_rows in answered_rows(log_uri, result.model, asked, features, its.key[0]).items():
            share = min(asked_rows.share, labels.share)
            rows = drawn(asked_rows.rows, its.key[0], share)
            if version is None or not set(its.key).issubset(rows.column_names):
                continue
            joined = join_labels(rows, labels.rows, config.label.column, its.key)
            found[version].joined.append(joined)
            found[version].share = min(found[version].share, share)
            if joined.rows.num_rows:
                found[version].windows.append(asked.name)
        if found[result.version].rows >= its.min_labels:
            break
    return {version: one for version, one in found.items() if one.rows}


def _performance(version: int, found: _Found, baseline: Baseline, config: MonitorConfig) -> Performance:
    rows = pa.concat_tables([one.rows for one in found.joined], promote_options="permissive")
    predictions = predictions_of(rows, config.class_names if config.task == "multiclass" else ())
    good = usable(config.task, predictions)
    table = rows.filter(pa.array(good)).drop_columns(list(ANSWERS))
    labels = table[config.label.column]
    encoded = encode_labels(labels, config.task, config.class_names)
    scored = Labelled(encoded, predictions[good], table.drop_columns([config.label.column]))
    scores = score(config.task, scored, config.slices, baseline.metrics) if table.num_rows else []
    return Performance(
        version=version,
        since=found.windows[-1],
        until=found.windows[0],
        labels=table.num_rows,
        missing=sum(one.missing for one in found.joined),
        repeated=sum(one.repeated for one in found.joined),
        duplicates=found.joined[0].duplicates,
        contradictory=found.joined[0].contradictory,
        unusable=int(pc.sum(pa.array(~good)).as_py() or 0),
        scores=scores,
    )
