"""What `slipway module new` recognises of how a table is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.source import locate
from slipway.data.statistics.describe import feature_name
from slipway.errors import DataError
from slipway.module_kit.scaffold.recognise import Table, read_table
from tests.slipway.data.examples.row_files import WRITERS

ROWS = 150


def _read(folder: Path, lines: list[str]) -> Table:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_table(locate(str(path), 1), folder / "out")


def _found(table: Table) -> dict[str, Any]:
    return table.ingestion.model_dump(mode="json", exclude_defaults=True, exclude={"times"})


def _types(table: Table) -> dict[str, int]:
    return {feature_name(feature): feature.type for feature in table.statistics.datasets[0].features}


def test_read_table_of_plain_csv_recognises_nothing(tmp_path: Path) -> None:
    table = _read(tmp_path, ["x,k,y", *(f"{n}.5,k{n % 3},{n % 2}" for n in range(ROWS))])
    assert _found(table) == {}
    assert table.recognised == ()


def test_read_table_recognises_marks_among_numbers(tmp_path: Path) -> None:
    marks = ["-", "?", "N/A", "NA", "None", "\\N", "null"]
    columns = [f"x{at}" for at in range(len(marks))]
    rows = ([mark if n % 20 == at else n / 4 for at, mark in enumerate(marks)] for n in range(ROWS))
    table = _read(
        tmp_path, [f"{','.join(columns)},y", *(f"{','.join(map(str, row))},{n % 2}" for n, row in enumerate(rows))]
    )
    assert _found(table) == {"missing_values": marks}
    assert {_types(table)[name] for name in columns} == {1}
    assert all(mark in " ".join(table.recognised) for mark in marks)


def test_read_table_recognises_marks_that_went_to_quarantine(tmp_path: Path) -> None:
    table = _read(
        tmp_path, ["x,w,y", *(f"{'NA' if n == 7 else n},{'?' if n == 9 else n},{n % 2}" for n in range(ROWS))]
    )
    assert _found(table) == {"missing_values": ["?", "NA"]}
    assert sum(dataset.num_examples for dataset in table.statistics.datasets) == ROWS


@pytest.mark.parametrize(
    "extension",
    [".parquet", pytest.param(".avro", marks=pytest.mark.slow), pytest.param(".tfrecord", marks=pytest.mark.slow)],
)
def test_read_table_recognises_marks_in_every_format(tmp_path: Path, extension: str) -> None:
    rows = [{"id": n, "price": n / 4, "name": "null" if n % 3 else "x", "y": n % 2} for n in range(ROWS)]
    WRITERS[extension](tmp_path / f"t{extension}", rows)
    table = read_table(locate(str(tmp_path / f"t{extension}"), 1), tmp_path / "out")
    assert _found(table) == {"missing_values": ["null"]}


@pytest.mark.parametrize(
    "delimiter", [";", pytest.param("\t", marks=pytest.mark.slow), pytest.param("|", marks=pytest.mark.slow)]
)
def test_read_table_recognises_delimiter_and_decimal_comma(tmp_path: Path, delimiter: str) -> None:
    table = _read(tmp_path, [line.replace("|", delimiter) for line in ("x|z|w|y", *(
        f"{n},{n % 10}5|{n % 9 + 1},125|{n % 8 + 1}.{n:03d},25|{n % 2}" for n in range(ROWS)))])  # fmt: skip
    assert _found(table) == {"delimiter": delimiter, "decimal": ",", "thousands": "."}
    assert {_types(table)[name] for name in "xzw"} == {1}


def test_read_table_recognises_commas_between_thousands(tmp_path: Path) -> None:
    table = _read(tmp_path, ["x,y", *(f'"{n % 9 + 1},{n:03d}.5",{n % 2}' for n in range(ROWS))])
    assert _found(table) == {"thousands": ","}
    assert _types(table)["x"] == 1


@pytest.mark.parametrize(
    ("number", "found"),
    [
        ("{}'{:03d}.5", {"thousands": "'"}),
        pytest.param("{} {:03d}", {"thousands": " "}, marks=pytest.mark.slow),
        pytest.param("{} {:03d},25", {"decimal": ",", "thousands": " "}, marks=pytest.mark.slow),
        pytest.param("{}'{:03d},25", {"decimal": ",", "thousands": "'"}, marks=pytest.mark.slow),
        ("{}.{:03d},25", {"decimal": ",", "thousands": "."}),
    ],
)
def test_read_table_recognises_other_marks_between_thousands(
    tmp_path: Path, number: str, found: dict[str, str]
) -> None:
    rows = (f'"{number.format(n % 9 + 1, n)}",{n % 2}' for n in range(ROWS))
    table = _read(tmp_path, ["x,y", *rows])
    assert _found(table) == found
    assert _types(table)["x"] == (0 if number == "{} {:03d}" else 1)


def test_read_table_without_header_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv:1: .*no line of column names.*'5\.1'"):
        _read(tmp_path, [f"5.{n},a,{n % 2}" for n in range(1, ROWS)])


def test_read_table_whose_first_line_is_like_the_others_has_no_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv:1: .*no line of column names.*'a0'"):
        _read(tmp_path, [f"a{n},x{n * 7}, {n % 2}" for n in range(ROWS)])


@pytest.mark.parametrize("row", ["{0},{0},{0}", "{0},{0},a{0}", "a{0},{0},{0}"])
def test_read_table_names_that_are_like_no_row_are_a_header(tmp_path: Path, row: str) -> None:
    names = "0,1,2" if row.startswith("{0},{0},{0}") else "a1,x1,y1"
    assert len(_types(_read(tmp_path, [names, *(row.format(n % 9) for n in range(ROWS))]))) == 3


def test_read_table_names_that_are_numbers_are_no_values(tmp_path: Path) -> None:
    table = _read(tmp_path, ["0,1,1990,2,y", *(f"{n},{n},{n},k{n % 3},{n % 2}" for n in range(ROWS))])
    assert set(_types(table)) == {"0", "1", "1990", "2", "y"}


def test_read_table_leaves_out_what_examples_cannot_hold(tmp_path: Path) -> None:
    columns = {"id": range(ROWS), "parts": [{"a": n} for n in range(ROWS)], "m": [[[n]] for n in range(ROWS)],
               "json": [json.dumps({"n": n}) for n in range(ROWS)], "y": [n % 2 for n in range(ROWS)]}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(locate(str(tmp_path / "t.parquet"), 1), tmp_path / "out")
    assert _found(table) == {"ignore": ["parts", "m"]}
    assert "STRUCT" in " ".join(table.recognised)
    assert _types(table)["json"] == 2
