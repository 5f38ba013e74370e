"""Reads dates in the forms that data have them in, for `preprocessing_fn`.

How a date is written is a pattern of `strptime` (`%d/%m/%Y %H:%M`), or the unit of a number since 1970 (`UNITS`).
What does not fit is missing; an offset is passed over, so that the hour is the local one. The code is part of the
exported model: requests have dates as the data had them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf

UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
DAY = 86_400
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Python and TensorFlow (RE2) read these regular expressions alike; they are of texts in lower case.
_DIRECTIVES = {
    "%Y": "([0-9]{4})", "%y": "([0-9]{2})", "%m": "([0-9]{1,2})", "%b": "([a-z]{3})[a-z]*[.]?", "%d": "([0-9]{1,2})",
    "%H": "([0-9]{1,2})", "%I": "([0-9]{1,2})", "%M": "([0-9]{2})", "%S": "([0-9]{2})(?:[.][0-9]+)?",
    "%p": "([ap])[.]?m[.]?",
}  # fmt: skip
_MISSING = -(2**63)
PAIRED = 8  # dates, of which each two are subtracted

Item = TypeVar("Item")


class Date(NamedTuple):
    """Parts of dates, `[batch]` each: float64, NaN where missing; and texts, empty where missing (0 is Monday)."""

    year: tf.Tensor
    days_since_1970: tf.Tensor
    month: tf.Tensor
    weekday: tf.Tensor
    hour: tf.Tensor


def date_pattern(written: str) -> tuple[str, list[str]]:
    """A regular expression of dates that are written so, and the directive of each of its groups."""
    directives = re.findall("%[a-zA-Z]", written)
    between = [re.escape(text.lower()).replace("\\ ", " +") for text in re.split("%[a-zA-Z]", written)]
    groups = (_DIRECTIVES[directive] + text for directive, text in zip(directives, between[1:], strict=True))
    return rf"^\s*{between[0]}{''.join(groups)}\s*(?:z|utc|[+-][0-9]{{2}}:?[0-9]{{2}})?\s*$", directives


def read_date(feature: tf.SparseTensor | tf.Tensor, written: str) -> Date:
    """The parts of a date."""
    import tensorflow as tf

    days, seconds, known = _read_number(feature, written) if written in UNITS else _read_text(feature, written)
    year, month = _year_and_month(days)
    nan, empty = tf.constant(float("nan"), tf.float64), tf.constant("")
    return Date(
        tf.where(known, tf.cast(year, tf.float64), nan),
        tf.where(known, tf.cast(days, tf.float64) + tf.cast(seconds, tf.float64) / DAY, nan),
        *(tf.where(known, tf.as_string(part), empty) for part in (month, (days + 3) % 7, seconds // 3600)),
    )


def days_between(dates: Iterable[Date]) -> list[tf.Tensor]:
    """The days between two dates, `[batch]` float64 for each of `pairs`, NaN where one of the two is missing."""
    return [one.days_since_1970 - other.days_since_1970 for one, other in pairs(dates)]


def pairs(dates: Iterable[Item]) -> list[tuple[Item, Item]]:
    """Each two dates; the first with each other one where there are more than `PAIRED`: pairs grow with the square."""
    both = list(dates)
    if len(both) <= PAIRED:
        return list(combinations(both, 2))
    return [(both[0], other) for other in both[1:]]


def _read_number(feature: tf.SparseTensor | tf.Tensor, unit: str) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Days since 1970, seconds of the day, and whether there is a value."""
    import tensorflow as tf

    if feature.dtype == tf.int64:
        values = fill_missing(feature, _MISSING)
        known = tf.not_equal(values, _MISSING)
    else:
        values = tf.cast(fill_missing(feature, float("nan")), tf.float64)
        known = tf.math.is_finite(values)
        values = tf.cast(tf.floor(tf.where(known, values, tf.zeros_like(values))), tf.int64)
    seconds = tf.where(known, values, tf.zeros_like(values)) // UNITS[unit]
    return seconds // DAY, seconds % DAY, known


def _read_text(feature: tf.SparseTensor | tf.Tensor, written: str) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The same of a text, or of a whole number such as 20240131."""
    import tensorflow as tf

    pattern, directives = date_pattern(written)
    if feature.dtype != tf.string:
        numbers = fill_missing(feature, 0)
        text = tf.as_string(tf.cast(numbers, tf.int64))
    else:
        text = tf.strings.lower(fill_missing(feature, ""))
    fits = tf.strings.regex_full_match(text, pattern)
    parts = {
        directive: tf.where(fits, tf.strings.regex_replace(text, pattern, rf"\{group}"), tf.constant("0"))
        for group, directive in enumerate(directives, 1)
    }

    def number(directive: str, default: int = 0) -> tf.Tensor:
        if directive not in parts:
            return tf.fill(tf.shape(text), tf.constant(default, tf.int64))
        return tf.strings.to_number(parts[directive], tf.int64)

    year, month, day = number("%Y"), number("%m", 1), number("%d", 1)
    if "%y" in parts:  # as POSIX has it
        year = number("%y") + tf.where(number("%y") < 69, tf.constant(2000, tf.int64), tf.constant(1900, tf.int64))
    if "%b" in parts:
        is_month = tf.equal(parts["%b"][:, tf.newaxis], tf.constant(MONTHS))
        month = tf.argmax(is_month, axis=1) + 1
        fits &= tf.reduce_any(is_month, axis=1)
    hour = number("%H")
    if "%I" in parts:
        hour = number("%I") % 12 + 12 * tf.cast(tf.equal(parts["%p"], "p"), tf.int64)
        fits &= (number("%I") >= 1) & (number("%I") <= 12)
    minute, second = number("%M"), number("%S")
    fits &= (hour < 24) & (minute < 60) & (second < 62)  # as strptime has it
    days = _days(year, month, day)
    # A day that its month does not have, such as 31 February, is of another month.
    return days, hour * 3600 + minute * 60 + second, fits & tf.equal(_year_and_month(days)[1], month)


def _days(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    """Days since 1970 in the Gregorian calendar: Hinnant, https://howardhinnant.github.io/date_algorithms.html."""
    import tensorflow as tf

    year = year - tf.cast(month <= 2, tf.int64)
    of_era = year % 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year // 400 * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _year_and_month(days: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The inverse of `_days`, but for the day."""
    import tensorflow as tf

    days = days + 719_468
    of_era = days % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = ((5 * of_year + 2) // 153 + 2) % 12 + 1
    return year + days // 146_097 * 400 + tf.cast(month <= 2, tf.int64), month
