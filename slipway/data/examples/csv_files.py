"""CSV files as rows: comma, double quote, a header in each file, UTF-8 with or without a byte order mark."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.data.database import literal
from slipway.data.examples.column_types import CSV_TEXT
from slipway.data.examples.rows import RawRows, check_names
from slipway.errors import DataError

if TYPE_CHECKING:
    import duckdb

_DIALECT = "delim = ',', quote = '\"', escape = '\"', auto_detect = false, store_rejects = true, rejects_limit = 10"


def read_header(path: Path, name: str) -> list[str]:
    """The column names of a CSV file.

    Raises:
        DataError: the file is empty, is not UTF-8 text, or its names are not usable.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty; it needs a line of column names, and rows")
    with path.open("rb") as binary:
        if binary.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{name}: the file is UTF-16; save it as UTF-8")
    try:
        # Bytes that are no UTF-8 become lone surrogates; those of the rows are looked at row by row.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            header = next(csv.reader(file, strict=True), [])
    except csv.Error as error:
        raise DataError(f"{name}:1: the header cannot be read: {error}") from error
    if any("\udc80" <= character <= "\udcff" for column in header for character in column):
        raise DataError(f"{name}:1: the header is not UTF-8; save the file as UTF-8")
    if not header:
        raise DataError(f"{name}: the first line is empty; it should hold the column names")
    header = [column.strip() for column in header]
    check_names(header, name)
    return header


def csv_rows(files: dict[str, Path]) -> RawRows:
    """Rows of CSV files, all columns text; null where a file lacks a column.

    Args:
        files: Name to show and path of each file.

    Raises:
        DataError: a header cannot be used.
    """
    alike: dict[tuple[tuple[str, ...], str], list[Path]] = {}
    for name, path in files.items():
        alike.setdefault((tuple(read_header(path, name)), line_end(path)), []).append(path)
    reads = [_read(paths, header, end) for (header, end), paths in alike.items()]
    relation = reads[0]
    if len(reads) > 1:
        relation = f"({' UNION ALL BY NAME '.join(f'SELECT * FROM {read}' for read in reads)})"  # noqa: S608
    columns = dict.fromkeys(column for header, _ in alike for column in header)
    return RawRows(relation, dict.fromkeys(columns, CSV_TEXT), ("NULL", "NULL"))


def line_end(path: Path) -> str:
    """The end of the first line, as DuckDB writes it; its own detection may pick a line break inside a value."""
    with path.open("rb") as file:
        line = file.readline(1 << 16)
    if line.endswith(b"\n"):
        return "\\r\\n" if line.endswith(b"\r\n") else "\\n"
    return "\\r" if b"\r" in line else "\\n"


def _read(paths: list[Path], columns: tuple[str, ...], line_end: str) -> str:
    listed = ", ".join(literal(str(path)) for path in paths)
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    return f"read_csv([{listed}], columns = {{{types}}}, header = true, new_line = '{line_end}', {_DIALECT})"


def has_rejects(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckDB skipped rows in the scans so far; clears its list of them."""
    known = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchall()
    if not known[0][0]:
        return False
    found = connection.execute("SELECT count(*) FROM reject_errors").fetchall()[0][0]
    connection.execute("DROP TABLE reject_errors")
    connection.execute("DROP TABLE reject_scans")
    return bool(found)
