"""A window's requests against the training rows of their version, and against the window before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from slipway.monitoring.baseline import Baseline
from slipway.monitoring.columns import Column, compare_column, drift_level
from slipway.monitoring.counts import Counts
from slipway.monitoring.decision import Signal
from slipway.monitoring.drift import ERROR_RATE
from slipway.monitoring.requests import Requests
from slipway.monitoring.result import WindowResult
from slipway.monitoring.slices import compare_slices, slice_signal
from slipway.monitoring.traffic import Traffic, error_signal, volume_signal
from slipway.monitoring.window import Window

if TYPE_CHECKING:
    from slipway.module_api import Monitoring

WEEK = timedelta(days=7)


def compare_window(
    model: str,
    version: int,
    window: Window,
    found: Mapping[int | None, Requests],
    baseline: Baseline,
    config: Monitoring,
    *,
    previous: WindowResult | None = None,
    damaged: int = 0,
) -> WindowResult:
    """What the window says of the requests of `version`; labels come later, see `score_labels`."""
    requests = found.get(version, Requests())
    known = {*baseline.features, *baseline.answers, *baseline.uncounted, *config.key, baseline.label}
    known |= {name for one in baseline.slices for name in one.columns}
    trained = {**baseline.features, **baseline.answers}
    result = WindowResult(
        model=model,
        version=version,
        start=window.name,
        end=Window(window.end, window.end).name,
        requests=requests.rows,
        versions={str(one or "unknown"): its.rows for one, its in found.items() if its.rows},
        traffic=_traffic(found.values()),
        enough=requests.rows >= config.min_rows,
        new_features=sorted(requests.samples.keys() - known),
        uncounted=baseline.uncounted,
        notes=[*_notes(found, damaged), *_unknown(config, trained)],
    )
    columns = compare_columns(requests, trained, config, _counts(previous, version), baseline.answers)
    deciding = {one.name: one for one in columns if one.decides}
    same = previous.slices if previous and previous.version == version else []
    slices = compare_slices(requests.slices, baseline.slices, deciding, same, config.min_rows)
    few = {one.name: one.rows for one in requests.slices if 0 < one.rows < config.min_rows}
    signals = [drift_signal(columns, enough=result.enough), *slice_signal(slices, columns)]
    return result.model_copy(update={"columns": columns, "slices": slices, "few": few, "signals": signals})


def compare_columns(
    requests: Requests,
    trained: Mapping[str, Counts],
    config: Monitoring,
    before: Mapping[str, Counts] = MappingProxyType({}),
    answers: Collection[str] = (),
) -> list[Column]:
    """Columns of rows against the training rows, and against those `before`; `answers` names those of the model."""
    columns = [
        compare_column(
            name,
            requests.counts[name],
            requests.samples[name],
            its,
            before.get(name),
            threshold=_threshold(config, name),
            columns=len(trained),
            role="prediction" if name in answers else "input",
            decides=config.features[name].decides if name in config.features else None,
        )
        for name, its in trained.items()
        if name in requests.counts
    ]
    for one in columns:
        if its := requests.outside.get(one.name):
            one.outside = its.judged(trained[one.name].rows, ERROR_RATE / len(trained))
    return columns


def judge_traffic(result: WindowResult, earlier: Sequence[WindowResult], config: Monitoring) -> WindowResult:
    """The result with what its volume and errors are, beside the windows of the week before."""
    week = f"{datetime.fromisoformat(result.start) - WEEK:%Y-%m-%dT%H:%M:%SZ}"
    known = [one for one in earlier if week <= one.start < result.start and one.length == result.length]
    now = result.traffic or Traffic()
    volume = volume_signal(now.calls, [one.calls for one in _usual(known, "volume")], config.min_rows)
    errors = error_signal(now, _usual(known, "errors"), config.min_rows)
    return result.model_copy(update={"signals": [*result.signals, *volume, *errors]})


def _usual(windows: Iterable[WindowResult], cause: str) -> list[Traffic]:
    """The traffic of the windows in which this was not unusual."""
    return [
        one.traffic
        for one in windows
        if one.traffic and not any(its.cause == cause and its.level > 1 for its in one.signals)
    ]


def _traffic(found: Iterable[Requests]) -> Traffic:
    failed: Counter[str] = Counter()
    calls = 0
    for one in found:
        failed.update(one.traffic.failed)
        calls += one.traffic.calls
    return Traffic(calls=calls, failed=dict(failed))


def drift_signal(columns: list[Column], *, enough: bool) -> Signal:
    """Drift as the decision takes it: how far the farthest column moved that may decide."""
    deciding = [one for one in columns if one.decides and not one.broken and one.baseline.drifted]
    deciding.sort(key=lambda one: -one.level)
    said = ", ".join(f"{one.name} {one.baseline.distance:.3f}" for one in deciding[:3])
    return Signal(
        cause="drift",
        level=drift_level(columns),
        enough=enough,
        what=f"drift of {said}" if said else "",
        columns={one.name: one.level for one in deciding},
    )


def _notes(found: Mapping[int | None, Requests], damaged: int) -> list[str]:
    empty = "the log has no requests of this window: nobody asked, or they were removed since"
    left_out = f"{damaged} files of the log cannot be read; their requests are left out"
    return [empty] * (not found and not damaged) + [left_out] * bool(damaged)


def _unknown(config: Monitoring, trained: Iterable[str]) -> list[str]:
    """A misspelt feature of module.yaml, whose threshold would hold for nothing."""
    if unknown := sorted(config.features.keys() - set(trained)):
        return [f"monitoring.features names {', '.join(unknown)}; compared are {', '.join(sorted(trained))}"]
    return []


def _threshold(config: Monitoring, name: str) -> float:
    own = config.features.get(name)
    return own.threshold if own and own.threshold else config.threshold


def _counts(previous: WindowResult | None, version: int) -> dict[str, Counts]:
    """The counts of the window before, if it was of the same version and had enough requests."""
    if previous is None or previous.version != version or not previous.enough:
        return {}
    return {one.name: one.counts for one in previous.columns}
