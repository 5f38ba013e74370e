"""Opens DuckDB. Nothing else does: what has to hold in every query is set here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# Parquet's minima and maxima leave NaN out (as its specification says). DuckDB takes them as proof that there is none:
# with these two optimizers neither `isnan(x)` nor `nullif(x, 'nan')` finds it in files that Arrow wrote.
UNSOUND_OPTIMIZERS = "statistics_propagation,filter_pushdown"


@contextmanager
def connect(spill: str, *, memory_limit: str, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that spills to a folder.

    It is in UTC: else the host's time zone would decide hours, days, and what a time without a zone means.
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
        connection.execute(f"SET disabled_optimizers = '{UNSOUND_OPTIMIZERS}'")
        yield connection
