"""The windows of one model that were watched, `<home>/monitoring/<model>/<window>/window.json`, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from slipway.errors import StoreError
from slipway.monitoring.columns import Column
from slipway.monitoring.drift import Distance
from slipway.monitoring.result import FILE, Score, WindowResult, read_result
from slipway.monitoring.scores import difference
from slipway.pages.numbers import format_number, format_share
from slipway.stores import storage

NAMED = 8  # columns
RECENT = 200  # windows that a run reads: a week of hours, half a year of days
_SAID = {"train": "a training was asked for", "alert": "people were told", "wait": "waiting", "nothing": "nothing"}


def read_windows(folder: str, until: str = "", last: int = 0) -> list[WindowResult]:
    """The windows of a model that began before `until`, the `last` of them, oldest first; all by default."""

    def read(start: str) -> WindowResult | None:
        uri = storage.join(folder, start)
        return read_result(uri) if storage.exists(storage.join(uri, FILE)) else None

    starts = [start for start in _starts(folder) if not until or start < until]
    with ThreadPoolExecutor(8) as threads:
        return [one for one in threads.map(read, starts[-last:]) if one]


def newest_window(folder: str, until: str = "") -> WindowResult | None:
    """The newest window of a model, or the newest that began before `until`; None if there is none yet."""
    for start in reversed(_starts(folder)):
        if (not until or start < until) and storage.exists(storage.join(folder, start, FILE)):
            return read_result(storage.join(folder, start))
    return None


def _starts(folder: str) -> list[str]:
    """The starts of the windows, which name their folders, oldest first; one without its file is being written."""
    return [name for name in storage.list_names(folder) if name[:1].isdigit()]


def watched_window(folder: str, start: str) -> WindowResult:
    """What was found in the window whose start begins so, or in the newest; StoreError if there is none, or several."""
    if not start and (newest := newest_window(folder)):
        return newest
    known = _starts(folder)
    begun = [one for one in known if start and one.startswith(start)]
    found = [one for one in begun if storage.exists(storage.join(folder, one, FILE))]
    if len(found) == 1:
        return read_result(storage.join(folder, found[0]))
    last = ", ".join(known[-3:]) or "none yet: `slipway monitor run MODULE` makes one"
    several = "more than one window begins" if found else "there is no window that begins"
    raise StoreError(f"{several} with {start!r} in {folder}; the newest: {last}")


def before(windows: Sequence[WindowResult], start: str) -> list[WindowResult]:
    """The windows before one, oldest first."""
    return [one for one in windows if one.start < start]


def describe_window(result: WindowResult, windows: Sequence[WindowResult]) -> list[str]:
    """What moved, since when, and what was done, a sentence each.

    Args:
        result: The window.
        windows: Those before it, oldest first.
    """
    return [*_done(result), *_moved(result, windows), *_performed(result), *result.notes]


def moved_since(column: Column, result: WindowResult, windows: Sequence[WindowResult]) -> str:
    """The start of the first window, of those without a gap before this one, in which the column had moved, too."""
    since = result.start
    for one in reversed(windows):
        if column.name not in {its.name for its in one.moved} or one.version != result.version:
            break
        since = one.start
    return since


def describe_column(column: Column) -> str:
    """`fare drifted from training: distance 0.103 (threshold 0.02, noise 0.004)`."""
    if column.broken:
        return f"{column.name} is broken at its source: {column.broken}"
    its = column.baseline
    told = _distance(its)
    missing = ""
    now, trained = column.missing
    if abs(now - trained) > 0.01:
        missing = f", missing {format_share(trained)} → {format_share(now)}"
    new = ", new values " + ", ".join(column.new_values) if column.new_values else ""
    clock = "" if column.decides or column.role == "label" else "; it follows the clock, and decides nothing"
    return f"{column.name} drifted from training: {told}{missing}{new}{clock}"


def _distance(its: Distance) -> str:
    return f"distance {its.distance:.3f} (threshold {its.threshold:g}, noise {its.noise:.4f})"


def _done(result: WindowResult) -> Iterator[str]:
    decision = result.decision
    if decision:
        asked = f" (key {decision.key[:12]})" if decision.action == "train" else ""
        yield f"{_SAID[decision.action]}: {decision.reason}{asked}"
    others = {name: rows for name, rows in result.versions.items() if name != str(result.version)}
    said = ", ".join(f"{rows:,} of version {name}" for name, rows in others.items())
    yield (
        f"{result.requests:,} requests of version {result.version} from {result.start} to {result.end}"
        + (f", and {said}" if said else "")
        + ("" if result.enough else ": not enough to tell drift from chance")
    )
    unusual = {one.cause: one.what for one in result.signals if one.cause in ("volume", "errors") and one.what}
    yield from (f"unusual {cause}: {what}" for cause, what in unusual.items())
    if result.traffic and result.traffic.errors and "errors" not in unusual:
        yield result.traffic.said


def _moved(result: WindowResult, windows: Sequence[WindowResult]) -> Iterator[str]:
    moved = result.moved
    for one in moved[:NAMED]:
        yield f"{describe_column(one)}; so since {moved_since(one, result, windows)}"
    if len(moved) > NAMED:
        yield f"and {len(moved) - NAMED} more columns"
    since_before = [one for one in result.columns if one.previous and one.previous.drifted]
    if since_before:
        named = ", ".join(f"{one.name} {one.previous.distance:.3f}" for one in since_before[:NAMED] if one.previous)
        yield f"moved since the window before: {named}"
    yield from _moved_in_slices(result)
    if result.labels and result.labels.baseline.drifted:
        yield f"the labels: {describe_column(result.labels)}"
    for shares in [one for one in result.labels_by if one.baseline.drifted][:NAMED]:
        yield f"the labels by {shares.feature} are others than in training: {shares.said}; {_distance(shares.baseline)}"
    if result.labels and not result.labels_by:
        yield (
            f"labels are not compared by feature: the baseline of version {result.version} does not count them so, "
            "or no value of a feature has labels enough"
        )
    outside = [one for one in result.columns if one.outside and one.outside.is_unusual]
    if outside:
        named = "; ".join(f"{one.name} {one.outside.said}" for one in outside[:NAMED] if one.outside)
        yield f"more values than chance explains are outside the range of training: {named}"
    if result.new_features:
        yield f"requests have features that training did not have: {', '.join(result.new_features)}"
    if result.uncounted:
        yield f"lists and images are not compared: {', '.join(result.uncounted)}"
    if result.columns and not moved and not result.moved_slices and result.enough:
        yield f"none of {len(result.columns)} columns moved"


def _moved_in_slices(result: WindowResult) -> Iterator[str]:
    slices = result.moved_slices
    for one in slices[:NAMED]:
        yield f"{one.name} drifted in {one.slice} only, not overall: distance {one.baseline.distance:.3f} " + (
            f"(threshold {one.baseline.threshold:g}, noise {one.baseline.noise:.4f}, {one.rows:,} requests)"
        )
    if len(slices) > NAMED:
        yield f"and {len(slices) - NAMED} more columns within slices"
    since_before = [one for one in result.slices if one.previous and one.previous.drifted]
    if since_before:
        named = ", ".join(
            f"{one.name} {one.previous.distance:.3f} in {one.slice}" for one in since_before[:NAMED] if one.previous
        )
        yield f"moved within slices since the window before: {named}"
    if result.few and result.enough:
        yield f"not enough requests to tell in {len(result.few)} slices, which are the smallest"


def _performed(result: WindowResult) -> Iterator[str]:
    yield from (one.what for one in result.signals if one.cause == "performance" and one.what)
    for one in result.performance:
        more = {"contradictory": one.contradictory, "unusable": one.unusable}
        apart = "".join(f", {number:,} {what}" for what, number in more.items() if number)
        yield (
            f"version {one.version}: {one.labels:,} labels of requests since {one.since}, "
            f"{one.missing:,} have none yet{apart}"
        )
    stable = result.performance[0] if result.performance else None
    for canary in result.performance[1:]:
        for ours in canary.scores[:1]:
            theirs = next((one for one in stable.scores if _place(one) == _place(ours)), None) if stable else None
            if theirs and (found := difference(ours, theirs)):
                drop, (low, high) = found
                said = "worse" if low > 0 else "better" if high < 0 else "not shown to be different"
                yield (
                    f"version {canary.version} is {said}: {ours.metric} differs by {format_number(drop)} "
                    f"(95 % interval {format_number(low)} to {format_number(high)}; above 0 is worse)"
                )


def _place(score: Score) -> tuple[str, str]:
    return score.slice, score.metric
