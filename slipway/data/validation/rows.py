"""Counts the offending rows of a finding, and takes an example."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.data.database import identifier
from slipway.data.statistics.compute import split_files
from slipway.data.statistics.engine import connect, run, scan

if TYPE_CHECKING:
    from slipway.data.validation.finding import Condition

LONGEST_EXAMPLE = 100


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
        count, example = (
            run(connection, statement, files, condition.parameters).fetchone() for statement in statements
        )
    return int(count[0]), _text(example[0]) if example else None


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 1] + "…"
