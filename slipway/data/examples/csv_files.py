"""CSV files as rows: a delimiter, double quote, a header in each file, UTF-8 with or without a byte order mark.

DuckDB reads sound files fast, but after a stray quote it drops rows without a report, and it counts rows, not lines.
So files with bad rows are read again line by line: a whole record goes to a clean file, preceded by the numbers of its
file and its line; any other goes to quarantine, and reading continues with the line after its first.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from slipway.data.database import literal
from slipway.data.examples.column_types import CSV_TEXT
from slipway.data.examples.rows import FILE, LINE, Opening, RawRows, check_names, file_of
from slipway.errors import DataError, DelimiterError

if TYPE_CHECKING:
    import duckdb

MAX_RECORD_BYTES = 1 << 20
LINES_BELOW = 5  # the header is compared with
DELIMITERS = (",", ";", "\t", "|")


class _Syntax:
    """One field as DuckDB reads it: quoted, perhaps with blanks around; or unquoted, where a quote is a character."""

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter.encode()
        end, blanks = re.escape(self.delimiter), b"" if delimiter == " " else b" *"
        quoted = b'"([^"]*(?:""[^"]*)*)"'
        self.field = re.compile(
            blanks + quoted + blanks + b"(?=" + end + rb"|\Z)|(?!" + blanks + b'")([^' + end + b"]*)"
        )
        self.open_field = re.compile(blanks + rb'"[^"]*(?:""[^"]*)*')


def csv_rows(opening: Opening, delimiter: str, *, with_file: bool = False) -> RawRows:
    """Rows of CSV files, all columns text; null where a file lacks a column; only `with_file` is a row's file known."""
    alike: dict[tuple[tuple[str, ...], str], list[Path]] = {}
    for name, path in opening.files.items():
        header = _read_header(path, name, delimiter)
        alike.setdefault((header.names, header.line_end), []).append(path)
    options = "header = true, store_rejects = true, rejects_limit = 10"
    options += f", filename = '{FILE}'" if with_file else ""
    reads = [_scan(paths, names, end, delimiter, options) for (names, end), paths in alike.items()]
    relation = reads[0]
    if len(reads) > 1:
        relation = f"({' UNION ALL BY NAME '.join(f'SELECT * FROM {read}' for read in reads)})"  # noqa: S608
    columns = dict.fromkeys(column for names, _ in alike for column in names)
    place = (file_of(opening), "NULL") if with_file else ("NULL", "NULL")
    return RawRows(relation, dict.fromkeys(columns, CSV_TEXT), place)


def has_rejects(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckDB skipped rows in the scans so far."""
    known = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchall()
    return bool(known[0][0] and connection.execute("SELECT count(*) FROM reject_errors").fetchall()[0][0])


def repaired_csv_rows(opening: Opening, clean: Path, delimiter: str) -> RawRows:
    """Rows of CSV files, each with its place, after the whole records of all files were written to one clean file."""
    syntax = _Syntax(delimiter)
    headers = {name: _read_header(path, name, delimiter) for name, path in opening.files.items()}
    for name, header in headers.items():
        if header.line_end == "\\r":
            raise DataError(
                f"{name}: a row is bad, and lines that end with CR alone cannot be told apart; use LF or CRLF"
            )
    columns = list(dict.fromkeys(column for header in headers.values() for column in header.names))
    with clean.open("wb") as target:
        for number, (name, path) in enumerate(opening.files.items()):
            header = headers[name]
            order = [header.names.index(column) if column in header.names else None for column in columns]
            with path.open("rb") as source:
                for record in _records(_Lines(source), header, syntax):
                    if record.problem:
                        opening.quarantine.add(name, record.line, record.problem, record.raw.decode("utf-8", "replace"))
                    else:
                        origin = b"%d%b%d%b" % (number, syntax.delimiter, record.line, syntax.delimiter)
                        target.write(origin + _in_order(record, order, syntax.delimiter) + b"\n")
    options = f"header = false, max_line_size = {3 * MAX_RECORD_BYTES}"
    relation = _scan([clean], [FILE, LINE, *columns], "\\n", delimiter, options)
    place = (f"([{', '.join(map(literal, headers))}])[{FILE}::BIGINT + 1]", f"{LINE}::BIGINT")
    return RawRows(relation, dict.fromkeys(columns, CSV_TEXT), place)


def _scan(paths: list[Path], columns: Iterable[str], line_end: str, delimiter: str, options: str) -> str:
    listed = ", ".join(literal(str(path)) for path in paths)
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns)
    return (
        f"read_csv([{listed}], columns = {{{types}}}, new_line = '{line_end}', delim = {literal(delimiter)}, "
        f"quote = '\"', escape = '\"', auto_detect = false, {options})"
    )


class _Header(NamedTuple):
    """The column names; `line_end` as DuckDB writes it, whose own detection may pick a line break inside a name.

    A name with line breaks makes several `lines`.
    """

    names: tuple[str, ...]
    line_end: str
    lines: int


def _read_header(path: Path, name: str, delimiter: str) -> _Header:
    """The header; a file that is empty, is not UTF-8 text, or has names that cannot be used, is an error."""
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty; it needs a line of column names, and rows")
    with path.open("rb") as binary:
        if binary.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{name}: the file is UTF-16; save it as UTF-8")
    try:
        # Bytes that are not UTF-8 become lone surrogates; in rows they are reported row by row.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            taken: list[str] = []
            header = next(csv.reader(_keep(file, taken), delimiter=delimiter, strict=True), [])
            below = [line.rstrip("\r\n").split(delimiter) for line in islice(file, LINES_BELOW)]
    except csv.Error as error:
        raise DataError(f"{name}:1: the header cannot be read: {error}") from error
    if any("\udc80" <= character <= "\udcff" for column in header for character in column):
        raise DataError(f"{name}:1: the header is not UTF-8; save the file as UTF-8")
    if not header:
        raise DataError(f"{name}: the first line is empty; it should hold the column names")
    header = [column.strip() for column in header]
    _check_header(header, below, name, delimiter)
    check_names(header, name)
    ends = {"\r\n": "\\r\\n", "\r": "\\r"}
    end = next((written for end, written in ends.items() if taken[-1].endswith(end)), "\\n")
    return _Header(tuple(header), end, max(1, "".join(taken).count("\n")))


def _keep(lines: Iterable[str], kept: list[str]) -> Iterator[str]:
    for line in lines:
        kept.append(line)
        yield line


def _check_header(header: list[str], below: list[list[str]], name: str, delimiter: str) -> None:
    """Refuses a first line with another delimiter, or with values in the place of names."""
    others = [other for other in DELIMITERS if len(header) == 1 and other != delimiter and other in header[0]]
    if others:
        other = max(others, key=header[0].count)
        raise DelimiterError(
            f"{name}:1: the line has one field, {header[0][:100]!r}; its fields seem to be separated by {other!r}, not "
            f"by {delimiter!r}: write `ingestion: {{delimiter: {json.dumps(other)}}}` in module.yaml",
            other,
        )
    values = [field for field in header if _is_value(field, len(header))]
    if not values and len(below) == LINES_BELOW and all(_shape(row) == _shape(header) for row in below):
        values = [field for field in header if re.search("[0-9]", field) and not field.isdecimal()]
    if values:
        raise DataError(
            f"{name}:1: the file seems to have no line of column names: the first line holds {values[0]!r}, which is a "
            "value. Put a line with a name for each column first; if it is a name, put a letter in front of it"
        )


def _shape(fields: list[str]) -> list[str]:
    """The fields but for the numbers in them: `a0,x0,0` is a row like `a1,x17,1`."""
    return [re.sub("[0-9]+", "0", field.strip()) for field in fields]


def _is_value(field: str, columns: int) -> bool:
    """Whether a field of the first line is a number that nobody calls a column: neither a position nor a year."""
    if re.fullmatch("[0-9]{1,7}", field):
        return int(field) > columns and not 1800 <= int(field) <= 2200
    return re.fullmatch(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?", field) is not None


class _Record(NamedTuple):
    """A record that begins on `line`; `fields` is None for a plain line that needs no parsing."""

    line: int
    raw: bytes
    fields: list[bytes] | None
    problem: str = ""


class _Lines:
    """Numbered lines; some can be given back."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._waiting: list[bytes] = []
        self.number = 0

    def next(self) -> bytes:
        """The next line with its end; empty after the last."""
        line = self._waiting.pop() if self._waiting else self._source.readline()
        self.number += bool(line)
        return line

    def give_back(self, lines: list[bytes]) -> None:
        """Returns the last lines, to be read again."""
        self._waiting.extend(reversed(lines))
        self.number -= len(lines)


def _records(lines: _Lines, header: _Header, syntax: _Syntax) -> Iterator[_Record]:
    """The records after the header; a blank line is a record only in a file of one column."""
    width = len(header.names)
    for _ in range(header.lines):
        lines.next()
    while line := lines.next():
        raw, number = line.rstrip(b"\r\n"), lines.number
        quoted, long = b'"' in raw, len(raw) > MAX_RECORD_BYTES
        if not quoted and not long and raw.count(syntax.delimiter) == width - 1 and raw.isascii() and b"\r" not in raw:
            if raw or width == 1:
                yield _Record(number, raw, None)
        elif raw:
            taken = [line]
            fields, problem = _quoted_fields(lines, taken, syntax) if quoted else (raw.split(syntax.delimiter), "")
            body = b"".join(taken).rstrip(b"\r\n")
            if len(fields) == width + 1 and not fields[-1]:
                fields.pop()  # a delimiter at the end of the line
            problem = problem or _problem(fields, body, width)
            if problem and not taken[-1].endswith(b"\n"):
                problem += "; the file ends in this row"
            if problem and len(taken) > 1:
                # The quote may be a stray one: the lines behind it are looked at on their own.
                lines.give_back(taken[1:])
                body = raw
            yield _Record(number, body, fields, problem)


def _quoted_fields(lines: _Lines, taken: list[bytes], syntax: _Syntax) -> tuple[list[bytes], str]:
    """The fields of a record with quotes, and what is wrong; takes more lines as long as a field is open."""
    body, fields, position = taken[0].rstrip(b"\r\n"), list[bytes](), 0
    while True:
        if match := syntax.field.match(body, position):
            quoted, bare = match.groups()
            fields.append(bare if quoted is None else quoted.replace(b'""', b'"'))
            position = match.end() + 1
            if match.end() == len(body):
                return fields, ""
        elif not syntax.open_field.fullmatch(body, position):
            return fields, f"field {len(fields) + 1} goes on after its closing quote"
        elif not _take_until_quote(lines, taken):
            return fields, f"the quote that opens field {len(fields) + 1} is not closed"
        else:
            body = b"".join(taken).rstrip(b"\r\n")


def _take_until_quote(lines: _Lines, taken: list[bytes]) -> bool:
    """Adds lines to an open record until one may close its field; False, without adding any, if none does."""
    more: list[bytes] = []
    size = sum(map(len, taken))
    while size <= MAX_RECORD_BYTES and (line := lines.next()):
        more.append(line)
        size += len(line)
        if line.count(b'"') % 2:
            taken.extend(more)
            return True
    lines.give_back(more)
    return False


def _problem(fields: list[bytes], raw: bytes, width: int) -> str:
    if len(fields) != width:
        return f"{len(fields)} fields where the header has {width}"
    if len(raw) > MAX_RECORD_BYTES:
        return f"the row is longer than {MAX_RECORD_BYTES:,} bytes"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} of the row, 0x{raw[error.start]:02x}, is not UTF-8"
    return ""


def _in_order(record: _Record, order: list[int | None], delimiter: bytes) -> bytes:
    """The record's fields in the order of the common columns."""
    if record.fields is None and order == list(range(len(order))):
        return record.raw
    fields = record.raw.split(delimiter) if record.fields is None else record.fields
    quoted = [b'"' + field.replace(b'"', b'""') + b'"' if field else b"" for field in fields]
    return delimiter.join(b"" if at is None else quoted[at] for at in order)
