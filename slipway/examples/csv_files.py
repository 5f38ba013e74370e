"""CSV files as rows: comma, double quote, a header in each file, UTF-8 with or without a byte order mark."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import DataError
from slipway.examples.column_types import CSV_TEXT
from slipway.examples.rows import RawRows, check_names, literal

if TYPE_CHECKING:
    import duckdb

_DIALECT = "delim = ',', quote = '\"', escape = '\"', auto_detect = false, store_rejects = true, rejects_limit = 10"


def read_header(path: Path, name: str) -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: the file is empty, is not UTF-8 text, or its names are not usable.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file, strict=True), [])
    except UnicodeDecodeError as error:
        utf16 = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
        found = "UTF-16" if utf16 else f"{error.object[error.start : error.start + 1]!r}"
        raise DataError(f"{name}: the header is not UTF-8 (found {found}); save the file as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{name}:1: the header cannot be read: {error}") from error
    if not header:
        raise DataError(f"{name}: the first line is empty; it should hold the column names")
    header = [column.strip() for column in header]
    check_names(header, name)
    return header


def csv_rows(files: dict[str, Path]) -> RawRows:
    """Rows of CSV files, all columns text; files with other columns give null for those that they lack.

    Args:
        files: Name to show and path of each file.

    Raises:
        DataError: a header cannot be used.
    """
    by_header: dict[tuple[str, ...], list[Path]] = {}
    for name, path in files.items():
        by_header.setdefault(tuple(read_header(path, name)), []).append(path)
    selects = [f"SELECT * FROM {_read(paths, list(header))}" for header, paths in by_header.items()]  # noqa: S608
    columns = dict.fromkeys(column for header in by_header for column in header)
    relation = (
        selects[0].removeprefix("SELECT * FROM ") if len(selects) == 1 else f"({' UNION ALL BY NAME '.join(selects)})"
    )
    file = literal(next(iter(files))) if len(files) == 1 else "NULL"
    return RawRows(relation, dict.fromkeys(columns, CSV_TEXT), (file, "NULL"))


def _read(paths: list[Path], columns: list[str]) -> str:
    listed = ", ".join(literal(str(path)) for path in paths)
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    return f"read_csv([{listed}], columns = {{{types}}}, header = true, {_DIALECT})"


def has_rejects(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckDB left rows out in the scans so far; it forgets them by this."""
    known = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchall()
    if not known[0][0]:
        return False
    found = connection.execute("SELECT count(*) FROM reject_errors").fetchall()[0][0]
    connection.execute("DROP TABLE reject_errors")
    connection.execute("DROP TABLE reject_scans")
    return bool(found)
