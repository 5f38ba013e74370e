"""Tells what a column holds, by its name and by its values: what is learned how, and what no model should learn.

The statistics of the training split are enough: of texts they hold the thousand most frequent values, of numbers the
deciles, which are values that occur.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Literal

from slipway.data.statistics.describe import common_stats, feature_name, image_shape, unique_count
from slipway.module_parts.dates import DAY, MONTHS, UNITS, date_pattern
from slipway.module_parts.quantities import QUANTITY

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

Kind = Literal["number", "quantity", "category", "date", "text", "left_out"]

FEW = 50  # values of a column that is a category whatever they look like
MOST = 0.95  # share of a column's values that have a form, for the column to have it
OWN = 0.5  # share of rows with a value of their own, from which on a text says nothing of the next row
TEXT_WORDS, TEXT_UNIQUE = 3, 0.2
MOST_CODES, CODE_REPEATS = 1000, 10

_IDS = {"id", "ids", "uuid", "guid", "iban", "ssn", "vin", "isbn", "imei"}
_KEYS = {"key", "hash", "token", "nr", "no", "number", "ref", "reference", "serial", "index", "idx", "row", "rownumber",
         "unnamed", "code", "sku", "barcode", "ticket"}  # fmt: skip
_GLUED_ID = re.compile(
    "(user|customer|client|order|account|person|patient|session|transaction|product|employee|member)id"
)
_ONES = {"user", "customer", "client", "person", "patient", "employee", "member", "subject", "household", "player"}
_PERSONS = {"surname", "lastname", "firstname", "fullname", "forename", "givenname", "familyname", "middlename"}
_PERSON_WORDS = {"last", "first", "full", "given", "family", "middle", "maiden"}
_CONTACTS = {"email", "mail", "phone", "telephone", "tel", "mobile", "fax", "url", "uri", "link", "website", "homepage",
             "address", "street", "ip", "mac", "username", "login"}  # fmt: skip
_CODES = {"zip", "zipcode", "postal", "postcode", "postalcode", "plz", "tract", "fips", "code", "type", "category",
          "region", "segment", "channel", "branch", "store", "department", "dept", "sector", "cluster", "ward",
          "precinct"}  # fmt: skip
_COUNTS = {"per", "count", "num", "total", "sum", "avg", "mean", "size", "amount", "population", "price", "cost",
           "income", "salary", "revenue", "balance", "value"}  # fmt: skip
_PERIODS = {"month": 12, "weekday": 7, "dow": 7, "dayofweek": 7, "day": 31, "hour": 24, "quarter": 4, "week": 53}
_DATES = {"date", "datetime", "timestamp", "dob", "birth", "birthday", "birthdate", "born"}

_FORMS = {
    "UUIDs": re.compile(r"\{?[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.IGNORECASE),
    "hashes": re.compile(r"(?=.*[0-9])[0-9a-f]{16,}", re.IGNORECASE),
    "e-mail addresses": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "URLs": re.compile(r"(https?://|ftp://|www\.)\S+", re.IGNORECASE),
    "IP addresses": re.compile(r"([0-9]{1,3}\.){3}[0-9]{1,3}|([0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}", re.IGNORECASE),
    "phone numbers": re.compile(
        r"(?=(\D*\d){7,15}\D*$)((\+|00?|\()?[0-9][0-9 ()./-]*[ ()./-][0-9 ()./-]*[0-9]|\+[0-9]{7,15})"
    ),
}  # fmt: skip
_DAYS = (*(order.replace("/", mark) for mark in "/.-" for order in (
    "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y")),
    "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%Y-%m", "%m/%Y", "%b %Y", "%Y%m%d")  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S")
_EPOCH = 631_152_000, 2_145_916_800  # seconds of 1990 and 2038: what a number as large as these is most likely to be
_CENTURIES = -2_208_988_800, 4_102_444_800  # of 1900 and 2100


@dataclass(frozen=True)
class Column:
    """What a column holds; `why` says what is not plain.

    Of a date: how it is `written` (`slipway.module_parts.dates`), and where its newest third begins, as
    `split.eval_from` of module.yaml takes it. Of what is left out: whether it could be learned as a category, and
    whether its values `repeat`, so that they group rows.
    """

    name: str
    kind: Kind
    why: str = ""
    written: str = ""
    eval_from: str | int = ""
    learnable: bool = True
    repeats: bool = False


@dataclass(frozen=True)
class _Facts:
    """The statistics of one column that decide; `values` are texts or, of numbers, deciles and ends."""

    name: str
    words: tuple[str, ...]
    rows: int
    present: int
    unique: int
    texts: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    is_float: bool = False  # to a model float32, which has not all whole numbers of eight digits

    @property
    def whole(self) -> bool:
        return bool(self.numbers) and all(value == value // 1 for value in self.numbers)

    @property
    def share(self) -> float:
        """Distinct values by rows that have one."""
        return self.unique / max(self.present, 1)

    def named(self, words: set[str]) -> bool:
        return bool(self.words) and self.words[-1] in words

    def have_form(self, form: Callable[[str], object]) -> bool:
        return bool(self.texts) and sum(map(bool, map(form, self.texts))) >= MOST * len(self.texts)


def tell_column(feature: statistics_pb2.FeatureNameStatistics, rows: int) -> Column:
    """What the column holds of which this is the description in the training split, of so many rows."""
    name, common, unique = feature_name(feature), common_stats(feature), unique_count(feature)
    present = common.num_non_missing

    def unlearnable(why: str) -> Column:
        return Column(name, "left_out", why, learnable=False)

    if present == 0:
        return unlearnable("it is always missing")
    if image_shape(feature):
        return unlearnable("it holds images; copy modules/digits, which docs/digits.md explains")
    if common.max_num_values > 1:
        return unlearnable("it holds lists; reduce or embed them in preprocessing.py")
    if not feature.HasField("num_stats") and not feature.HasField("string_stats"):
        return unlearnable("it holds binary data")
    if feature.HasField("string_stats"):
        texts = tuple(bucket.label for bucket in feature.string_stats.rank_histogram.buckets)
        facts = _Facts(name, words_of(name), rows, present, unique, texts=texts)
        constant = unique == 1
    else:
        stats = feature.num_stats
        edges = [bucket.high_value for one in stats.histograms if one.type == one.QUANTILES for bucket in one.buckets]
        numbers = tuple(value for value in (stats.min, *edges, stats.max) if abs(value) != float("inf"))
        facts = _Facts(
            name, words_of(name), rows, present, unique, numbers=numbers, is_float=feature.type == feature.FLOAT
        )
        constant = stats.min == stats.max
    if constant and present == rows:
        return unlearnable("it has one value only")
    rules = _TEXT_RULES if facts.texts else _NUMBER_RULES
    return next(found for rule in rules if (found := rule(facts)))


def words_of(name: str) -> tuple[str, ...]:
    """`CustomerID`, `customer_id` and `customer id` are the words customer and id."""
    return tuple(word.lower() for word in re.findall(r"[A-ZÄÖÜ]+(?![a-zäöü])|[A-ZÄÖÜ]?[^\W\dA-ZÄÖÜ_]+|[0-9]+", name))


def _by_name(facts: _Facts) -> Column | None:
    """IDs, keys, names and addresses; those of few values are categories or numbers all the same."""
    is_text, words = bool(facts.texts), facts.words
    if not words:
        return None
    is_id = facts.named(_IDS) or words[0] == "id" or bool(_GLUED_ID.fullmatch(words[-1]))
    called = "an id" if is_id else words[-1]
    if (is_id or (facts.named(_ONES) and facts.unique > FEW)) and (is_text or facts.whole):
        if facts.share > OWN:
            return _left_out(facts, f"it is called {called}, and most rows have their own")
        if facts.unique > MOST_CODES or facts.present < CODE_REPEATS * facts.unique:
            return Column(facts.name, "left_out", f"it is called {called}, and names few rows each", repeats=True)
        return Column(facts.name, "category", f"called {called}")
    if facts.unique <= FEW:
        return None
    if facts.named(_KEYS) and (is_text or facts.whole) and facts.share > OWN:
        return _left_out(facts, "it is called a number or key, and most rows have their own")
    is_person = facts.named(_PERSONS) or (words[-1] == "name" and bool(_PERSON_WORDS & set(words)))
    if is_text and (is_person or (words[-1] == "name" and facts.share > TEXT_UNIQUE)):
        return _left_out(facts, "it holds names, which say nothing of the next row")
    is_contact = facts.named(_CONTACTS) or (words[-1] in ("number", "nr", "no") and bool(_CONTACTS & set(words)))
    if is_contact and (is_text or facts.whole):
        return _left_out(facts, "it holds addresses, or numbers to call")
    return None


def _left_out(facts: _Facts, why: str) -> Column:
    return Column(facts.name, "left_out", why)


def _text_date(facts: _Facts) -> Column | None:
    fitting = [
        (days + times, dates) for days, times in product(_DAYS, _TIMES) if (dates := _dates(facts, days + times))
    ]
    if not fitting:
        return None
    written, dates = fitting[0]
    others = [other for other, _ in fitting if other != written and "%d" in other]
    why = f"or {others[0]}, which fits all values, too" if others else ""
    return Column(facts.name, "date", why, written, _iso(sorted(dates)[len(dates) * 2 // 3]))


def _dates(facts: _Facts, written: str) -> list[tuple[int, int, int]]:
    """Year, month and day of the values, if nearly all are dates that are written so."""
    pattern, directives = date_pattern(written)
    read = re.compile(pattern)
    if not facts.texts or not any(read.fullmatch(text.lower()) for text in facts.texts[:3]):
        return []
    found = []
    for text in facts.texts:
        if match := read.fullmatch(text.lower()):
            parts = dict(zip(directives, match.groups(), strict=True))
            short = int(parts.get("%y", 0))
            year = int(parts["%Y"]) if "%Y" in parts else short + (2000 if short < 69 else 1900)
            month = MONTHS.index(parts["%b"]) + 1 if parts.get("%b") in MONTHS else int(parts.get("%m", 0))
            day = int(parts.get("%d", 1))
            if 1 <= month <= 12 and 1 <= day <= 31 and 1800 < year < 2200:
                found.append((year, month, day))
    return found if len(found) >= MOST * len(facts.texts) else []


def _by_form(facts: _Facts) -> Column | None:
    if facts.unique <= FEW:
        return None
    what = next((what for what, form in _FORMS.items() if facts.have_form(form.fullmatch)), None)
    return _left_out(facts, f"it holds {what}") if what else None


def _quantity(facts: _Facts) -> Column | None:
    units = [match.group(1, 3) for text in facts.texts if (match := re.fullmatch(QUANTITY, text.lower()))]
    if len(units) < MOST * len(facts.texts) or facts.unique < 5:
        return None
    named = sorted({(before or after or "").strip() for before, after in units})
    if len(named) == 1 and named[0]:
        return Column(facts.name, "quantity", named[0])
    if 1 < len(named) <= 5 and facts.unique > FEW:
        shown = ", ".join(unit or "none" for unit in named)
        return _left_out(facts, f"its numbers have several units ({shown}); give them one")
    return None


def _text(facts: _Facts) -> Column | None:
    if facts.unique <= FEW:
        return None
    words = sum(len(text.split()) for text in facts.texts) / len(facts.texts)
    if words >= TEXT_WORDS and facts.share > TEXT_UNIQUE:
        return Column(facts.name, "text")
    if facts.share > OWN:
        return _left_out(facts, "most rows have a text of their own: it looks like an id or a key")
    return None


def _number_date(facts: _Facts) -> Column | None:
    """Moments as whole numbers: 20240131, days or moments in seconds, or a finer unit, since 1970."""
    low, high = facts.numbers[0], facts.numbers[-1]
    if not facts.whole or facts.unique < 3 or facts.named(_COUNTS):
        return None
    newest_third = int(facts.numbers[len(facts.numbers) * 5 // 8])
    if (
        not facts.is_float
        and low >= 19_000_101
        and high <= 21_001_231
        and all(_is_day(int(value)) for value in facts.numbers)
    ):
        return Column(facts.name, "date", "", "%Y%m%d", newest_third)
    for unit, per_second in UNITS.items():
        seconds = [value / per_second for value in (low, high)]
        is_recent = _EPOCH[0] <= seconds[0] and seconds[1] <= _EPOCH[1]
        of_days = unit == "seconds" and len(set(facts.numbers)) > 3 and all(value % DAY == 0 for value in facts.numbers)
        called_so = unit == "seconds" and facts.named(_DATES) and max(abs(low), abs(high)) > 1e8
        if is_recent or ((of_days or called_so) and _CENTURIES[0] <= low and high <= _CENTURIES[1]):
            day = datetime.fromtimestamp(newest_third, UTC).date().isoformat() if unit == "seconds" else newest_third
            return Column(facts.name, "date", "", unit, day)
    return None


def _is_day(value: int) -> bool:
    return 1 <= value // 100 % 100 <= 12 and 1 <= value % 100 <= 31


def _number_code(facts: _Facts) -> Column | None:
    """Whole numbers that name something: postal codes, census tracts, months."""
    if not facts.whole or _COUNTS & set(facts.words):
        return None
    low, high, last = facts.numbers[0], facts.numbers[-1], facts.words[-1] if facts.words else ""
    if last in _PERIODS and low >= 0 and high <= _PERIODS[last] and "of" not in facts.words:
        return Column(facts.name, "category", "a period of the calendar")
    if last in _CODES or facts.words[-2:] == ("community", "area"):
        if facts.share > OWN and facts.unique > FEW:
            return _left_out(facts, "it holds codes, and most rows have their own")
        return Column(facts.name, "category", "whole numbers that are codes")
    return None


def _running_number(facts: _Facts) -> Column | None:
    if not _rows_have_their_own(facts) or facts.numbers[-1] - facts.numbers[0] >= 4 * facts.rows:
        return None
    return _left_out(facts, "every row has its own whole number: it looks like an id")


def _drawn_number(facts: _Facts) -> Column | None:
    """A number of as many digits as all others, anywhere among them: amounts crowd at the lower end."""
    low, high, median = facts.numbers[0], facts.numbers[-1], facts.numbers[(len(facts.numbers) - 1) // 2]
    even = low >= 10**6 and abs(median - (low + high) / 2) < 0.1 * (high - low)
    if not even or not _rows_have_their_own(facts) or len(f"{low:.0f}") != len(f"{high:.0f}"):
        return None
    return _left_out(facts, "every row has its own long number: it looks like an id")


def _rows_have_their_own(facts: _Facts) -> bool:
    return facts.whole and facts.rows > 50 and facts.share >= 0.9 and not _COUNTS & set(facts.words)


def _iso(date: tuple[int, int, int]) -> str:
    return "{:04d}-{:02d}-{:02d}".format(*date)


_NUMBER_RULES: tuple[Callable[[_Facts], Column | None], ...] = (
    _by_name, _number_code, _running_number, _number_date, _drawn_number,
    lambda facts: Column(facts.name, "number"),
)  # fmt: skip
_TEXT_RULES: tuple[Callable[[_Facts], Column | None], ...] = (
    _text_date, _by_name, _by_form, _quantity, _text, lambda facts: Column(facts.name, "category"),
)  # fmt: skip
