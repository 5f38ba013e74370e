"""The result of a check, and the offending rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.data.database import identifier
from slipway.data.statistics.compute import connect, run, scan, split_files

if TYPE_CHECKING:
    from slipway.data.validation.report import Severity

CONTROL_MISSING = "COMPARATOR_CONTROL_DATA_MISSING"
# TFDV reports every anomaly as an error unless told otherwise (`UpdateSeverityForAnomaly` in its schema.cc). These two
# are warnings here: a column that the schema does not know never reaches the model, so it cannot harm it (TFDV has the
# option `new_features_are_warnings` for it); and a feature that the run before did not have cannot be compared, which
# would otherwise block the first run with it, and so every later one.
WARNINGS = frozenset({"SCHEMA_NEW_COLUMN", CONTROL_MISSING})
LONGEST_EXAMPLE = 100


@dataclass(frozen=True)
class Condition:
    """Predicate that selects offending values `v`; with `of_row`, offending rows (value `x`, of `size` values)."""

    sql: str
    parameters: tuple[Any, ...] = ()
    of_row: bool = False


@dataclass(frozen=True)
class Finding:
    """One anomaly of a feature. `type`, `short` and `description` are TFDV's; `bound` and `fix` quote the schema."""

    type: str
    short: str
    description: str
    fix: str
    bound: str = ""
    condition: Condition | None = None
    rows: int | None = None
    example: str | None = None

    @property
    def severity(self) -> Severity:
        """Whether the run stops."""
        return "WARNING" if self.type in WARNINGS else "ERROR"


def find_rows(examples_path: str | Path, split: str, feature: str, condition: Condition) -> tuple[int, str | None]:
    """The number of offending rows, and the most frequent offending value; reads one column."""
    files = split_files(examples_path, split)
    column = identifier(feature)
    with connect() as connection:
        described = run(connection, f"DESCRIBE {scan(files, column)}", files).fetchall()
        is_list = described[0][1].endswith("]")
        size = f"len({column})" if is_list else f"CASE WHEN {column} IS NOT NULL THEN 1 END"
        source, counted = scan(files, f"{column} AS x, {column} AS v, {size} AS size"), "count(*)"
        if is_list and not condition.of_row:
            source = scan(files, f"{column} AS x, unnest({column}) AS v, row_number() OVER () AS row")
            counted = "count(DISTINCT row)"
        wrong = f"FROM ({source}) WHERE ({condition.sql})"
        shown = "x" if condition.of_row else "v"
        statements = (
            f"SELECT {counted} {wrong}",
            f"SELECT {shown} {wrong} AND {shown} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
        )
        count, example = (run(connection, each, files, condition.parameters).fetchone() for each in statements)
    if not example:
        return int(count[0]), None
    text = example[0].decode("utf-8", "replace") if isinstance(example[0], bytes) else str(example[0])
    return int(count[0]), text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 1] + "…"
