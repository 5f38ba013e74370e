"""A pasted CSV: its rows as the model takes them, and the same rows with their answers, to be looked at or kept."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.predict_page.asking import Prediction
from serving.predict_page.form import Form, Value
from slipway.errors import DataError

MAX_BYTES = 1_000_000
MAX_ROWS = 1_000
FEWER_ROWS = "Paste fewer rows; `slipway predict --csv FILE` takes any number."
_DELIMITERS = (",", ";", "\t")  # a spreadsheet copies with tabs
# A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One row: the line that it begins on, its cells as they came, and its values, or what is wrong with it."""

    line: int
    cells: list[str]
    values: dict[str, Value]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """Header and rows; `unknown` columns are no inputs of the model and stay beside the answers.

    `counts` says what rows are counted in: the lines of a CSV, or pictures.
    """

    header: list[str]
    rows: list[Row]
    unknown: list[str]
    counts: str = "line"

    @property
    def good(self) -> list[Row]:
        """The rows that can be asked for."""
        return [row for row in self.rows if not row.problem]


class TooLargeError(DataError):
    """A CSV with too many bytes."""


def read_table(text: str, form: Form) -> Table:
    """The rows of a CSV with a header; an empty cell is a missing value, and so is a column that is not there.

    Raises:
        DataError: it is no CSV, has no column of the model, no rows or too many; the message names the line.
    """
    if (size := len(text.encode())) > MAX_BYTES:
        raise TooLargeError(f"The CSV has {size:,} bytes; {MAX_BYTES:,} at most. {FEWER_ROWS}")
    known = {field.name: field for field in form.fields}
    text = text.removeprefix("\ufeff")
    delimiter = max(_DELIMITERS, key=lambda one: len(known.keys() & set(_split(text, one))))
    lines = _lines(text, delimiter)
    if not lines:
        raise DataError("There is nothing to read: paste a header with the names of the columns, and rows below it.")
    header = [name.strip() for name in lines[0][1]]
    if twice := sorted(name for name, times in Counter(header).items() if times > 1):
        raise DataError(f"The header names {', '.join(map(repr, twice))} twice: leave one of them out.")
    if not known.keys() & set(header):
        raise DataError(
            f"The first line names no input of the model. It has {_listed(header)}; the model takes {_listed(known)}."
        )
    if len(lines) == 1:
        raise DataError("There is a header and no row below it.")
    rows = [_row(line, cells, header, form) for line, cells in lines[1:]]
    return Table(header, rows, [name for name in header if name not in known])


def write_table(table: Table, prediction: Prediction | None) -> str:
    """The table as CSV with its answers, for a file: no cell of text begins a formula in a spreadsheet."""
    columns, answers = answer_columns(table, prediction)
    text = io.StringIO()
    writer = csv.writer(text)  # RFC 4180: CR and LF end a line, so that either is quoted within a cell
    problem = "predicted_problem" if "problem" in table.header else "problem"
    writer.writerow(map(_harmless, [*table.header, *columns, problem]))
    found = iter(answers)
    for row in table.rows:
        told = [f"{table.counts} {row.line}: {row.problem}"] if row.problem else [*next(found), ""]
        cells = [*row.cells[: len(table.header)], *[""] * (len(table.header) - len(row.cells))]
        writer.writerow(map(_harmless, [*cells, *[""] * (len(columns) + 1 - len(told)), *told]))
    return text.getvalue()


def answer_columns(table: Table, prediction: Prediction | None) -> tuple[list[str], list[list[str]]]:
    """The names of the columns that the answers have, and for each good row the answers; `slipway predict`'s names."""
    if prediction is None:
        return [], []
    names = ["class", *(f"score_{name}" for name in prediction.classes)] if prediction.classes else ["prediction"]
    columns = [f"predicted_{name}" if name in table.header else name for name in names]
    if not prediction.classes:
        return columns, [[f"{value:.7g}"] for value in prediction.values]
    answers = [
        [prediction.classes[prediction.chosen(row)], *(f"{score:.7g}" for score in scores)]
        for row, scores in enumerate(prediction.values)
    ]
    return columns, answers


def _split(text: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"') for name in text.partition("\n")[0].rstrip("\r").split(delimiter)]


def _lines(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The records that are not empty, each with the line that it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for cells in reader:
            if any(cells):
                found.append((begins, cells))
            if len(found) > MAX_ROWS + 1:
                raise DataError(f"There are more than {MAX_ROWS:,} rows. {FEWER_ROWS}")
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"Line {begins} is no CSV: {error}. A quote within a quoted field is written twice.") from error
    return found


def _row(line: int, cells: list[str], header: Sequence[str], form: Form) -> Row:
    if len(cells) != len(header):
        return Row(line, cells, {}, f"has {len(cells)} fields, and the header names {len(header)}")
    values, problems = form.read(dict(zip(header, cells, strict=True)))
    return Row(line, cells, values, "; ".join(f"{name} {problem}" for name, problem in problems.items()))


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell


def _listed(names: Iterable[str]) -> str:
    named = [name[:60] or "an empty name" for name in names]
    return ", ".join(named[:20]) + (", …" if len(named) > 20 else "")
