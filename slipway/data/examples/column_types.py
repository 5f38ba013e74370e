"""Infers the type of each column, and writes the SQL that converts its values.

A schema decides, if there is one. Otherwise all values of a CSV column decide its type:

- `integer` (int64) if all are whole numbers without a leading zero;
- `number` (double) if all are numbers, some with a point or an exponent;
- `boolean` (int64, 0 or 1) if all are `true` or `false`, in upper or lower case;
- `time` (int64, seconds since 1970, as times of other formats) if all are ISO 8601 and `ingestion.times` says so;
- `text` (string) otherwise, and for whole numbers among which are codes, which a number would damage: with leading
  zeros (`02139`), or with 19 digits or more.

A column stays numeric if at most `max_quarantined` of its values are not numbers; those rows go to quarantine.
Whole numbers of 64 bits without a sign follow the rule for codes: a column in which one has 19 digits is text.
Missing values, in every format, are null, the empty string and NaN; in numeric columns also blanks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from slipway.data.database import identifier, literal
from slipway.data.examples.rows import RawRows
from slipway.errors import UnusableColumnsError
from slipway.module_api import Ingestion

if TYPE_CHECKING:
    import duckdb
    from tensorflow_metadata.proto.v0 import schema_pb2

Form = Literal["integer", "whole", "number", "boolean", "time", "text"]  # whole: what a schema takes for an integer

DEFAULTS = Ingestion()
CSV_TEXT = "CSV_TEXT"  # in the place of DuckDB's type: text whose form is not decided yet; never the empty string
SAMPLE_ROWS = 2048
_PLACE, _FORM, _VALUE = "__slipway_place", "__slipway_form", "__slipway_value"
_INTEGER = r"\s*([+-]?(0|[1-9][0-9]{0,17}))?\s*"
_CODE = r"\s*[+-]?(0[0-9]+|[1-9][0-9]{18,})\s*"
_WHOLE = r"\s*[+-]?[0-9]{1,19}(\.0*)?\s*"
# No IN: DuckDB makes a join of a long list, and a join loses the order of the rows.
_IS_BOOLEAN = "(lower({0}) = 'true' OR lower({0}) = 'false')"
# Starts with a letter that starts neither a number nor `inf` or `nan`: much cheaper than a failing cast.
_SURELY_TEXT = " OR ".join(
    f"({{0}} >= '{first}' AND {{0}} < '{end}')" for first, end in ("AI", "JN", "Oi", "jn", ("o", "\U0010ffff"))
)
_EXPECTED = {"integer": "a whole number", "whole": "a whole number",
             "number": "a number", "boolean": "true or false",
             "time": "a time in ISO 8601"}  # fmt: skip
_SCHEMA_FORMS: dict[int, Form] = {1: "text", 2: "whole", 3: "number"}
# DuckDB's types, the nearest type of examples, and SQL of the value in it; a time without a zone is UTC.
_SECONDS = "CAST(floor(epoch(CAST({0} AS TIMESTAMPTZ))) AS BIGINT)"
_UNSIGNED = ("UBIGINT", "HUGEINT", "UHUGEINT")  # may exceed int64
_NATURAL = (
    (r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BOOLEAN", "BIGINT", "CAST({0} AS BIGINT)"),
    (r"FLOAT|DOUBLE|DECIMAL.*", "DOUBLE", "CAST({0} AS DOUBLE)"),
    (r"(DATE|TIMESTAMP).*", "BIGINT", _SECONDS),
    (r"TIME.*", "BIGINT", "CAST(floor(epoch({0})) AS BIGINT)"),
    (r"VARCHAR|JSON|UUID|ENUM.*", "VARCHAR", "nullif(CAST({0} AS VARCHAR), '')"),
    (r'"?NULL"?', "VARCHAR", "CAST({0} AS VARCHAR)"),
    (r"BLOB", "BLOB", "{0}"),
    (r'STRUCT\("?bytes"? BLOB, "?path"? VARCHAR\)', "BLOB", "struct_extract({0}, 'bytes')"),  # images of Hugging Face
)


# ISO 8601: a date, or a date and a time of day, perhaps with an offset. DuckDB alone would take 01-06-24 for a day of
# the year 1, and would not take blanks around it.
_DATE, _TIME, _ZONE = r"\d{4}-\d{1,2}-\d{1,2}", r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?", r"Z|[+-]\d{2}(?::?[0-5]\d)?"
_ISO = rf"^\s*({_DATE})(?:(?:T|\s+)({_TIME})\s*({_ZONE})?)?\s*$"


def iso_moment(text: str) -> str:
    """SQL of a text in ISO 8601 as a timestamp; NULL if it is not one."""
    plain = f"replace(replace(upper({text}), ',', '.'), 'UTC', 'Z')"
    aware = f"TRY_CAST(rtrim(regexp_replace({plain}, '{_ISO}', '\\1 \\2\\3')) AS TIMESTAMPTZ)"
    return f"CASE WHEN regexp_matches({plain}, '{_ISO}') THEN {aware} END"


@dataclass(frozen=True)
class Conversion:
    """The conversion of one column: SQL of its value, and a predicate for usable values (None: all are)."""

    column: str
    value: str
    valid: str | None = None
    expected: str = ""
    form: Form | None = None

    @property
    def reason(self) -> str:
        """SQL of the reason why a value is not usable, or NULL."""
        shown = f"chr(39) || left({identifier(self.column)}::VARCHAR, 100) || chr(39)"
        said = f"{literal(f'{self.column}: ')} || {shown} || {literal(f' is not {self.expected}')}"
        return f"CASE WHEN NOT ({self.valid}) THEN {said} END"


def curated_forms(schema: schema_pb2.Schema | None) -> dict[str, Form]:
    """The forms that a schema's types ask for."""
    features = schema.feature if schema else ()
    return {feature.name: _SCHEMA_FORMS[feature.type] for feature in features if feature.type in _SCHEMA_FORMS}


def convert(
    column: str,
    raw_type: str,
    form: Form | None,
    ingestion: Ingestion = DEFAULTS,
    *,
    codes: bool = False,
    is_image: bool = False,
) -> Conversion:
    """The conversion of one column from DuckDB's type to a form; without a form, to the nearest type.

    `codes` says of unsigned whole numbers that some are too long for a number. The lists in the lists of an image, its
    rows and pixels, become one.

    Raises:
        UnusableColumnsError: examples cannot hold the type.
    """
    if raw_type == CSV_TEXT:
        return _from_text(column, identifier(column), form or "text", ingestion)
    if raw_type == "VARCHAR" or raw_type.startswith("ENUM"):
        return _from_text(column, f"nullif({identifier(column)}::VARCHAR, '')", form or "text", DEFAULTS)
    element = re.fullmatch(r"(.+?)((?:\[\d*\])*)\[\d*\]", raw_type)
    if element and element[2] and not is_image:
        raise UnusableColumnsError({column: raw_type})
    target, value = _natural(element[1] if element else raw_type, codes)
    if not target:
        raise UnusableColumnsError({column: raw_type})
    if element:
        name, depth = identifier(column), element[2].count("[")
        if depth:
            name = f"{'flatten(' * depth}CAST({name} AS {element[1]}[]{'[]' * depth}){')' * depth}"
        if element[1] == "UTINYINT":  # pixels, for which 8 bytes each would be much
            target = element[1]
        is_plain = "epoch" not in value and "struct" not in value
        each = name if is_plain else f"list_transform({name}, lambda each: {value.format('each')})"
        return Conversion(column, f"CAST({each} AS {target}[])")
    value = value.format(identifier(column))
    if raw_type in _UNSIGNED and form == "whole":
        whole = f"TRY_CAST({identifier(column)} AS BIGINT)"
        return Conversion(column, whole, f"{identifier(column)} IS NULL OR {whole} IS NOT NULL", _EXPECTED[form])
    if target == "DOUBLE":
        if form == "whole":
            valid = f"{value} IS NULL OR isnan({value}) OR {value} = trunc({value})"
            return Conversion(column, f"TRY_CAST(nullif({value}, 'nan'::DOUBLE) AS BIGINT)", valid, _EXPECTED[form])
        value = f"nullif({value}, 'nan'::DOUBLE)"
    elif (target == "BIGINT" or raw_type in _UNSIGNED) and form == "number":
        value = f"CAST({value} AS DOUBLE)"
    if form == "text" and target in ("BIGINT", "DOUBLE"):
        value = f"CAST({value} AS VARCHAR)"
    return Conversion(column, value)


def _from_text(column: str, text: str, form: Form, ingestion: Ingestion) -> Conversion:
    """The conversion of a text; its SQL is never the empty string."""
    if form == "text":
        return Conversion(column, text)
    if form == "boolean":
        value, valid = f"CAST(lower({text}) = 'true' AS BIGINT)", _IS_BOOLEAN.format(text)
    elif form == "time":
        value, valid = _SECONDS.format(iso_moment(text)), f"{iso_moment(text)} IS NOT NULL"
    elif form == "integer":
        text = _plain_number(text, ingestion)
        value, valid = f"TRY_CAST({text} AS BIGINT)", f"regexp_full_match({text}, '{_INTEGER}')"
    elif form == "whole":
        boolean, moment = _IS_BOOLEAN.format(text), iso_moment(text)
        number = f"TRY_CAST({_plain_number(text, ingestion)} AS BIGINT)"
        value = (
            f"coalesce({number}, CASE WHEN {boolean} THEN CAST(lower({text}) = 'true' AS BIGINT) "
            f"ELSE {_SECONDS.format(moment)} END)"
        )
        otherwise = f"{boolean} OR trim({text}) = '' OR ({moment}) IS NOT NULL"
        matches = f"regexp_full_match({_plain_number(text, ingestion)}, '{_WHOLE}')"
        valid = f"CASE WHEN {matches} THEN {number} IS NOT NULL ELSE {otherwise} END"
    else:
        text = _plain_number(text, ingestion)
        value = f"nullif(TRY_CAST({text} AS DOUBLE), 'nan'::DOUBLE)"
        plain = f"NOT contains({text}, '_')"  # DuckDB takes 1_000 for a number
        valid = f"CASE WHEN TRY_CAST({text} AS DOUBLE) IS NOT NULL THEN {plain} ELSE trim({text}) = '' END"
    return Conversion(column, value, f"{text} IS NULL OR ({valid})", _EXPECTED[form], form)


def _plain_number(text: str, ingestion: Ingestion) -> str:
    """SQL of a text with its number as SQL writes it; of a text that SQL, but not the file, would take for one, not."""
    if ingestion.decimal == "." and ingestion.thousands is None:
        return text
    between, point = re.escape(ingestion.thousands or ""), re.escape(ingestion.decimal)
    digits = rf"([0-9]+|[0-9]{{1,3}}({between}[0-9]{{3}})+)" if between else "[0-9]+"
    pattern = literal(rf"\s*[+-]?({digits}({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?\s*")
    bare = f"replace({text}, {literal(ingestion.thousands)}, '')" if ingestion.thousands else text
    plain = f"replace({bare}, {literal(ingestion.decimal)}, '.')"
    return (
        f"(CASE WHEN regexp_full_match({text}, {pattern}) THEN {plain} WHEN trim({text}) = '' THEN {text} "
        f"ELSE 'text ' || {text} END)"
    )


def _natural(raw_type: str, codes: bool) -> tuple[str, str]:
    """The example type nearest to DuckDB's type, and SQL of the value in it; two empty texts if there is none."""
    if codes:
        return "VARCHAR", "CAST({0} AS VARCHAR)"
    found = ((target, value) for pattern, target, value in _NATURAL if re.fullmatch(pattern, raw_type))
    return next(found, ("", ""))


def find_codes(connection: duckdb.DuckDBPyConnection, rows: RawRows) -> set[str]:
    """The columns of unsigned whole numbers with a value of 19 digits or more; as in CSV, these are text."""
    wide = {column: kind for column, kind in rows.types.items() if kind.removesuffix("[]") in _UNSIGNED}
    if not wide or rows.batches is not None:
        return set()
    largest = ", ".join(
        f"max({'list_max' if kind.endswith(']') else ''}({identifier(column)})) >= {10**18}"
        for column, kind in wide.items()
    )
    found = connection.execute(f"SELECT {largest} FROM {rows.relation}").fetchall()[0]  # noqa: S608
    return {column for column, is_code in zip(wide, found, strict=True) if is_code}


class _Counts(NamedTuple):
    """Counts of a column's values by form; the last five are 0 if not asked for.

    The misfits of text are the values that may have another form.
    """

    present: int
    misfits: int
    integers: int = 0
    codes: int = 0
    numbers: int = 0
    booleans: int = 0
    times: int = 0

    def decide(self, tolerated: float) -> tuple[Form, int]:
        """The form, and the number of values that do not fit it."""
        if self.present and self.booleans == self.present:
            return "boolean", 0
        if self.present and self.times == self.present:
            return "time", 0
        others = self.present - self.numbers
        if not self.numbers or others > tolerated * self.present:
            return "text", 0
        if self.integers == self.numbers:
            return "integer", others
        return ("text", 0) if self.integers + self.codes == self.numbers else ("number", others)


def infer_forms(
    connection: duckdb.DuckDBPyConnection,
    rows: RawRows,
    curated: Mapping[str, Form],
    ingestion: Ingestion,
    *,
    check: bool,
) -> tuple[dict[str, Form], set[str]]:
    """The form of every text column, and the columns with values that do not fit it.

    The first rows give a guess. All values decide about a column that is text or empty there, and about any other whose
    values do not fit the guess.

    `curated` are the forms that a schema decided; up to the share `ingestion.max_quarantined` of a numeric column's
    values may be no numbers. Only with `check` are values looked for that do not fit; otherwise the reader of the rows
    has to.
    """
    tolerated = ingestion.max_quarantined
    sample = f"(SELECT * FROM {rows.relation} LIMIT {SAMPLE_ROWS})"  # noqa: S608
    sampled = _count(connection, sample, {column: None for column in rows.types if column not in curated}, ingestion)
    guesses = {column: found.decide(tolerated)[0] if found.present else None for column, found in sampled.items()}
    forms: dict[str, Form] = {column: guess or "text" for column, guess in guesses.items()} | dict(curated)
    looked_at = {
        column: form for column, form in (guesses | dict(curated)).items()
        if (column in sampled if form in ("text", None) else check)
    }  # fmt: skip
    counts = _count(connection, rows.relation, looked_at, ingestion)
    doubtful = [
        column for column, found in counts.items()
        if column in sampled and found.misfits
        # A column with enough values that are certainly text needs no second look.
        and not (looked_at[column] == "text" and found.present - found.misfits > tolerated * found.present)
    ]  # fmt: skip
    counts |= _count(connection, rows.relation, dict.fromkeys(doubtful), ingestion)
    failing = set()
    for column, found in counts.items():
        others = found.misfits if column in curated else 0
        if column in doubtful or looked_at[column] is None:
            forms[column], others = found.decide(tolerated)
        failing |= {column} if others else set()
    return forms, failing


def _count(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, Form | None], ingestion: Ingestion
) -> dict[str, _Counts]:
    """Counts the values of each column that do not fit its form; without a form, the values of every form.

    The columns lie below each other, for one set of expressions: DuckDB plans an expression for each column in a time
    that grows as the square of their number.
    """
    if not columns:
        return {}
    valid = {
        form: _from_text("", _VALUE, form, ingestion).valid for form in columns.values() if form not in (None, "text")
    }
    valid["text"] = _SURELY_TEXT.format(_VALUE)
    number = _plain_number(_VALUE, ingestion)
    is_number = _from_text("", _VALUE, "number", ingestion).valid
    fits = "".join(f" WHEN {literal(form)} THEN ({one})" for form, one in valid.items())
    conditions = [
        f"regexp_full_match({number}, '{_INTEGER}')",
        f"regexp_full_match({number}, '{_CODE}')",
        f"{_VALUE} IS NOT NULL AND ({is_number})",
        _IS_BOOLEAN.format(_VALUE),
        f"({iso_moment(_VALUE)}) IS NOT NULL" if ingestion.times == "seconds" else "false",
    ]
    counts = [f"count(CASE WHEN {_FORM} IS NULL AND ({each}) THEN 1 END)" for each in conditions]
    misfits = f"count(CASE WHEN NOT (CASE {_FORM}{fits} ELSE ({is_number}) END) THEN 1 END)"
    forms = ", ".join(literal(form) if form else "NULL" for form in columns.values())
    below_each_other = f"""
        SELECT unnest(range({len(columns)})) AS {_PLACE}, unnest([{forms}]::VARCHAR[]) AS {_FORM},
            unnest([{", ".join(map(identifier, columns))}]) AS {_VALUE}
        FROM {relation}
    """  # noqa: S608
    totals = ", ".join([f"count({_VALUE})", misfits, *counts])
    answer = connection.execute(f"SELECT {_PLACE}, {totals} FROM ({below_each_other}) GROUP BY ALL").fetchall()  # noqa: S608
    found = {place: _Counts(*counted) for place, *counted in answer}
    return {column: found.get(place, _Counts(0, 0)) for place, column in enumerate(columns)}
