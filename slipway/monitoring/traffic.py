"""How many calls a window had and how many of them failed, beside the windows of the week before.

The volume is unusual where it is above twice the most calls of a window, or below half of the least; so days and
nights, weekdays and Sundays are no alarm once a week is known. Errors are unusual where their share is above
`ERROR_SHARE` and above twice that of the week. Either must be more than chance too: given the sum of two Poisson
counts, one of them is binomial (Przyborowski and Wilenski, 1940, https://doi.org/10.1093/biomet/31.3-4.313), and
`ERROR_RATE` bounds what chance alone would show. Windows that were unusual themselves are no measure for later ones.
Either is told to people, and trains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel

from slipway.monitoring.decision import Signal
from slipway.monitoring.drift import ERROR_RATE
from slipway.pages.numbers import format_share

FACTOR = 2.0
ERROR_SHARE = 0.01


class Traffic(BaseModel):
    """Calls of a model in a window, as far as they were logged; a call may have many instances."""

    calls: int = 0
    failed: dict[str, int] = {}

    @property
    def errors(self) -> int:
        """Calls that failed."""
        return sum(self.failed.values())

    @property
    def error_share(self) -> float:
        """Of all calls; 0 without any."""
        return self.errors / self.calls if self.calls else 0.0

    @property
    def said(self) -> str:
        """`40 of 1,000 calls failed (4.0 %): UNAVAILABLE 38, INVALID_ARGUMENT 2`; empty if none did."""
        by_code = ", ".join(f"{code} {many:,}" for code, many in sorted(self.failed.items(), key=lambda one: -one[1]))
        told = f"{self.errors:,} of {self.calls:,} calls failed ({format_share(self.error_share)}): {by_code}"
        return told if self.errors else ""


def volume_signal(now: int, week: Sequence[int], min_rows: int) -> list[Signal]:
    """The volume as the decision takes it; nothing with fewer calls than `min_rows`, or without a window before."""
    if not week or max(now, min(week)) < min_rows:
        return []
    other = max(week) if now > max(week) else min(week)
    least, most = sorted((now, other))
    is_outside = now > max(week) or now < min(week)
    level = math.log(most / max(least, 0.5)) / math.log(FACTOR) if is_outside else 0.0
    if _chance(most, most + least, 0.5) > ERROR_RATE:
        level = min(level, 1.0)
    seen = f"from {min(week):,} to {max(week):,}" if min(week) < max(week) else f"{other:,}"
    what = f"{now:,} calls, in the windows of the week before {seen}"
    return [Signal(cause="volume", level=level, what=what if level > 1 else "")]


def error_signal(now: Traffic, week: Sequence[Traffic], min_rows: int) -> list[Signal]:
    """The errors as the decision takes them; nothing with fewer calls than `min_rows`."""
    if now.calls < min_rows:
        return []
    before = Traffic(calls=sum(one.calls for one in week), failed={"": sum(one.errors for one in week)})
    level = now.error_share / max(ERROR_SHARE, FACTOR * before.error_share)
    share = now.calls / (now.calls + before.calls)
    by_chance = _chance(now.errors, now.calls, ERROR_SHARE)
    if before.calls:
        by_chance = max(by_chance, _chance(now.errors, now.errors + before.errors, share))
    if by_chance > ERROR_RATE:
        level = min(level, 1.0)
    earlier = f"; in the week before {format_share(before.error_share)}" if before.calls else ""
    return [Signal(cause="errors", level=level, what=f"{now.said}{earlier}" if level > 1 else "")]


def _chance(found: int, of: int, share: float) -> float:
    """How often `found` or more of `of` come up, where each does with this probability."""
    from scipy.special import bdtrc

    return float(bdtrc(found - 1, of, share)) if found else 1.0
