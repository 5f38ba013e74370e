"""The only place that opens DuckDB, with the settings that every query needs; and names and texts as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# Parquet's minima and maxima leave NaN out (as its specification says). DuckDB concludes that there is none:
# with these two optimizers neither `isnan(x)` nor `nullif(x, 'nan')` finds it in files that Arrow wrote.
UNSOUND_OPTIMIZERS = "statistics_propagation,filter_pushdown"


@contextmanager
def connect(spill: str, *, memory_limit: str, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that spills to a folder.

    Its time zone is UTC; the host's would change hours, days and the meaning of times without a zone.
    """
    import duckdb

    config = {
        "memory_limit": memory_limit,
        "threads": threads,
        "temp_directory": spill,
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # An ASOF JOIN becomes a nested loop where few rows are expected, as of a CSV file, however long it is.
        connection.execute("SET asof_loop_join_threshold = 0")
        connection.execute(f"SET disabled_optimizers = '{UNSOUND_OPTIMIZERS}'")
        yield connection


def identifier(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"
