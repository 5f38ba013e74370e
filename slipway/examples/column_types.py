"""Which type each column has, and the SQL that brings a value to it.

A schema decides where there is one. Else a text column of a CSV file gets its type from all of its values:

- `integer` (int64) if all are whole numbers without a leading zero;
- `number` (double) if all are numbers, some with a point or an exponent;
- `boolean` (int64, 0 or 1) if all are `true` or `false`, in any case;
- `text` (string) otherwise. So are codes, which a number would damage: leading zeros (`02139`) and 19 digits or more.

A column of numbers in which at most the share `max_quarantined` of the values is something else stays one of numbers;
those rows go to quarantine. Missing are, in every format: null, the empty string, NaN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slipway.errors import DataError
from slipway.examples.rows import RawRows, identifier, literal

if TYPE_CHECKING:
    import duckdb
    from tensorflow_metadata.proto.v0 import schema_pb2

Form = Literal["integer", "number", "boolean", "text"]

SAMPLE_ROWS = 2048
_INTEGER = r"[+-]?(0|[1-9][0-9]{0,17})"
_CODE = r"[+-]?(0[0-9]+|[1-9][0-9]{18,})"
_WHOLE = r"\s*[+-]?[0-9]{1,19}(\.0*)?\s*"
_BOOLEANS = "('true', 'false', 'True', 'False', 'TRUE', 'FALSE')"
_EXPECTED: dict[Form, str] = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "text": "a text",
}


@dataclass(frozen=True)
class Conversion:
    """One column of the examples: SQL of its value, and SQL that says whether a value is usable (None: all are)."""

    column: str
    value: str
    valid: str | None = None
    expected: str = ""

    @property
    def reason(self) -> str:
        """SQL of why a row's value is not usable, or NULL."""
        name = identifier(self.column)
        said = f"{self.column}: "
        return (
            f"CASE WHEN NOT ({self.valid}) THEN {literal(said)} || chr(39) || left({name}::VARCHAR, 100) || chr(39) || "
            f"{literal(f' is not {self.expected}')} END"
        )


def curated_forms(schema: schema_pb2.Schema | None) -> dict[str, Form]:
    """What a schema says of its features' types."""
    if schema is None:
        return {}
    forms: dict[int, Form] = {1: "text", 2: "integer", 3: "number"}
    return {feature.name: forms[feature.type] for feature in schema.feature if feature.type in forms}


def convert(column: str, raw_type: str, form: Form | None) -> Conversion:
    """The conversion of one column from DuckDB's type to the form that is wanted, or to the nearest without one.

    Raises:
        DataError: examples cannot hold the type.
    """
    if raw_type == "VARCHAR" or raw_type.startswith("ENUM"):
        return _from_text(column, form or "text")
    element = re.fullmatch(r"(.+)\[\d*\]", raw_type)
    if element:
        return Conversion(column, f"CAST({identifier(column)} AS {_natural(column, element[1])[0]}[])")
    target, value = _natural(column, raw_type)
    if target == "DOUBLE":
        if form == "integer":
            valid = f"{value} IS NULL OR isnan({value}) OR {value} = trunc({value})"
            return Conversion(column, f"TRY_CAST(nullif({value}, 'nan'::DOUBLE) AS BIGINT)", valid, _EXPECTED[form])
        value = f"nullif({value}, 'nan'::DOUBLE)"
    elif target == "BIGINT" and form == "number":
        value = f"CAST({value} AS DOUBLE)"
    if form == "text" and target in ("BIGINT", "DOUBLE"):
        value = f"CAST({value} AS VARCHAR)"
    return Conversion(column, value)


def _from_text(column: str, form: Form) -> Conversion:
    name = identifier(column)
    if form == "text":
        return Conversion(column, f"nullif({name}::VARCHAR, '')")
    if form == "boolean":
        value, valid = f"CAST(lower({name}) = 'true' AS BIGINT)", f"{name} IN {_BOOLEANS}"
    elif form == "integer":
        value = f"TRY_CAST({name} AS BIGINT)"
        valid = f"regexp_full_match({name}, '{_WHOLE}') AND {value} IS NOT NULL"
    else:
        value = f"nullif(TRY_CAST({name} AS DOUBLE), 'nan'::DOUBLE)"
        valid = f"TRY_CAST({name} AS DOUBLE) IS NOT NULL AND NOT contains({name}, '_')"
    return Conversion(column, value, f"coalesce({name}, '') = '' OR ({valid})", _EXPECTED[form])


_WHOLE_TYPES = r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BOOLEAN"


def _natural(column: str, raw_type: str) -> tuple[str, str]:
    """The type of the examples that is nearest to DuckDB's, and the value in it."""
    name = identifier(column)
    if re.fullmatch(_WHOLE_TYPES, raw_type):
        return "BIGINT", f"CAST({name} AS BIGINT)"
    if re.match(r"FLOAT|DOUBLE|DECIMAL", raw_type):
        return "DOUBLE", f"CAST({name} AS DOUBLE)"
    if re.match(r"DATE|TIME", raw_type):
        return "BIGINT", f"CAST(floor(epoch({name})) AS BIGINT)"
    if raw_type == "BLOB":
        return "BLOB", name
    if raw_type in ("VARCHAR", "UUID") or raw_type.startswith("ENUM"):
        return "VARCHAR", f"nullif(CAST({name} AS VARCHAR), '')"
    if raw_type in ('"NULL"', "NULL"):
        return "VARCHAR", f"CAST({name} AS VARCHAR)"
    raise DataError(f"column {column!r} is {raw_type}, which examples cannot hold; write its parts as columns")


def infer_forms(
    connection: duckdb.DuckDBPyConnection, rows: RawRows, curated: dict[str, Form], tolerated: float
) -> tuple[dict[str, Form], dict[str, int]]:
    """The form of every text column, and how many of its values do not fit it.

    A guess from the first rows is checked on all rows; all forms are counted only where it does not hold.

    Args:
        connection: DuckDB.
        rows: All columns are text.
        curated: Forms that a schema decided.
        tolerated: Share of a column's values that may be something else than numbers.
    """
    sample = f"(SELECT * FROM {rows.relation} LIMIT {SAMPLE_ROWS})"  # noqa: S608
    guessed = _decide(connection, sample, [column for column in rows.types if column not in curated], tolerated)
    forms = {column: curated.get(column) or guessed[column] for column in rows.types}
    # That a column is text is checked by how many of its values are no numbers.
    checks: dict[str, Form] = {
        column: "number" if form == "text" and column in guessed else form for column, form in forms.items()
    }
    counts = _misfits(connection, rows.relation, checks)
    doubtful, misfits = [], dict.fromkeys(forms, 0)
    for column, (present, others) in counts.items():
        if column in curated:
            misfits[column] = others
        elif (others <= tolerated * present) if forms[column] == "text" else others:
            doubtful.append(column)
    if doubtful:
        forms |= _decide(connection, rows.relation, doubtful, tolerated)
        again = _misfits(connection, rows.relation, {column: forms[column] for column in doubtful})
        misfits |= {column: others for column, (_, others) in again.items()}
    return forms, misfits


def _misfits(
    connection: duckdb.DuckDBPyConnection, relation: str, forms: dict[str, Form]
) -> dict[str, tuple[int, int]]:
    """Per column, how many values there are and how many of them the form cannot hold."""
    terms = []
    for column, form in forms.items():
        valid = _from_text(column, form).valid
        terms += [f"count({identifier(column)})", f"count(*) FILTER (NOT ({valid}))" if valid else "0"]
    counts = connection.execute(f"SELECT {', '.join(terms)} FROM {relation}").fetchall()[0]  # noqa: S608
    return dict(zip(forms, zip(counts[::2], counts[1::2], strict=True), strict=True))


def _decide(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: list[str], tolerated: float
) -> dict[str, Form]:
    """The form of each column from all of its values in the relation."""
    if not columns:
        return {}
    terms = [
        f"count({name}), count(*) FILTER (regexp_full_match({name}, '{_INTEGER}')), "
        f"count(*) FILTER (regexp_full_match({name}, '{_CODE}')), "
        f"count(*) FILTER ({_from_text(column, 'number').valid}), count(*) FILTER ({name} IN {_BOOLEANS})"
        for column in columns
        for name in [identifier(column)]
    ]
    counts = connection.execute(f"SELECT count(*), {', '.join(terms)} FROM {relation}").fetchall()[0]  # noqa: S608
    rows, decided = counts[0], {}
    for position, column in enumerate(columns):
        present, integers, codes, valid, booleans = counts[1 + 5 * position : 6 + 5 * position]
        numbers = valid - (rows - present)  # an empty value is valid
        decided[column] = _form(present, integers, codes, numbers, booleans, tolerated)
    return decided


def _form(present: int, integers: int, codes: int, numbers: int, booleans: int, tolerated: float) -> Form:
    if present and booleans == present:
        return "boolean"
    if codes or not numbers or present - numbers > tolerated * present:
        return "text"
    return "integer" if integers == numbers else "number"
