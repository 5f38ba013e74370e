"""Parquet files as rows: DuckDB reads them; columns are matched by name."""

from __future__ import annotations

from pathlib import Path

import duckdb

from slipway.data.database import literal
from slipway.data.examples.rows import FILE, RawRows, describe
from slipway.errors import DataError

_ROW = "file_row_number"


def parquet_rows(connection: duckdb.DuckDBPyConnection, files: dict[str, Path]) -> RawRows:
    """Rows of Parquet files.

    Raises:
        DataError: a file is no Parquet file, was cut, or the files' columns do not fit together.
    """
    listed = ", ".join(literal(str(path)) for path in files.values())
    relation = (
        f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false, "
        f"filename = '{FILE}', file_row_number = true)"
    )
    for name, path in files.items():
        try:
            connection.execute(f"SELECT num_rows FROM parquet_file_metadata({literal(str(path))})")  # noqa: S608
        except duckdb.Error as error:
            size = path.stat().st_size
            raise DataError(
                f"{name}: not a whole Parquet file ({size:,} bytes); write or fetch it again: {_first_line(error)}"
            ) from error
    try:
        types = describe(connection, relation)
    except duckdb.Error as error:
        raise DataError(f"the Parquet files' columns do not fit together: {_first_line(error)}") from error
    del types[_ROW]
    shown = ", ".join(f"{literal(str(path))}: {literal(name)}" for name, path in files.items())
    return RawRows(relation, types, (f"MAP {{{shown}}}[{FILE}]", f"{_ROW} + 1"))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
