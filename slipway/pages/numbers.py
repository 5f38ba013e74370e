"""Formats numbers for people: few digits, never `-0` or `nan`."""

import math
import time

MISSING = "–"  # noqa: RUF001  an en dash for "no value" in a table


def format_number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits; whole numbers in full with thousands separators.

    >>> format_number(14169), format_number(0.951234), format_number(12345.678)
    ('14,169', '0.9512', '12,346')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"  # noqa: RUF001
    if float(value).is_integer() and abs(value) < 1e15:
        return _minus(f"{int(value):,}")
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size >= 15:
        return _minus(f"{value:.{max(digits - 2, 1)}e}")
    return _minus(f"{value:,.{max(digits - 1 - size, 0)}f}")


def short_number(value: float, digits: int = 4) -> str:
    """A number in few characters, for axes and narrow columns.

    >>> short_number(14169), short_number(17031081401), short_number(0.951234)
    ('14.17k', '17.03G', '0.9512')
    """
    for limit, scale, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if limit <= abs(value) < 1e13:
            return f"{format_number(value / scale, digits)}{suffix}"
    return format_number(value, digits)


def format_share(value: float | None) -> str:
    """A share in percent; only 0 and 1 are shown as 0 % and 100 %."""
    if value is None or math.isnan(value):
        return MISSING
    if 0 < value < 0.001:
        return "<0.1 %"
    if 0.999 < value < 1:
        return ">99.9 %"
    text = f"{100 * value:.1f}"
    return f"{text.removesuffix('.0')} %"


def format_seconds(seconds: float | None) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _minus(text: str) -> str:
    if text.strip("-0.,") == "":
        return "0"
    return text.replace("-", "−", 1) if text.startswith("-") else text  # noqa: RUF001


def format_time(seconds: float) -> str:
    """A moment, given in seconds since 1970, as `2026-01-31 12:00:00 UTC`; 0 is unknown."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else MISSING
