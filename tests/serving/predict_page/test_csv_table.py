"""A pasted CSV is read row by row, and written with its answers."""

from __future__ import annotations

import csv
import io
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.predict_page.asking import Prediction
from serving.predict_page.csv_table import read_table, write_table
from serving.predict_page.form import Field, Form
from slipway.errors import DataError

FORM = Form(model="taxi", fields=(Field(name="fare", dtype="float32"), Field(name="payment", dtype="string")))


def prediction(rows: int) -> Prediction:
    return Prediction(3, ("no", "yes"), np.tile([0.25, 0.75], (rows, 1)), 0.0, frozenset({"fare", "payment"}))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_read_table_takes_columns_by_their_names(mark: str) -> None:
    text = f'\ufeffpayment{mark}note{mark}fare\r\n"Cash{mark} or so"{mark}x{mark}1.5\r\n{mark}{mark}2\r\n'
    table = read_table(text, FORM)
    assert [row.values for row in table.rows] == [
        {"fare": 1.5, "payment": f"Cash{mark} or so"},
        {"fare": 2.0, "payment": None},
    ]
    assert table.unknown == ["note"]


def test_read_table_takes_what_spreadsheets_write() -> None:
    text = '\ufeff"payment";"fare"\r\n"Cash\r\nor \u201ccard\u201d";"1.5"\r\n"a\x00b";\r\n;"12,5"\r\n'
    table = read_table(text, FORM)
    assert [row.line for row in table.rows] == [2, 4, 5]
    assert [row.values.get("payment") for row in table.rows] == ["Cash\r\nor \u201ccard\u201d", "a\x00b", None]
    assert (table.rows[2].problem, len(table.good)) == ("fare is '12,5', which is no number: write it as 12.5", 2)


def test_table_of_a_hundred_thousand_columns_is_refused_at_once() -> None:
    began = time.process_time()
    with pytest.raises(DataError, match="twice"):
        read_table("fare" + "," * 100_000 + "\n1\n", FORM)
    assert time.process_time() - began < 2


def test_table_with_a_long_number_that_is_none_is_written_at_once() -> None:
    table, began = read_table("fare\n+" + "1" * 20_000 + "x\n", FORM), time.process_time()
    assert "\n'+111" in write_table(table, None)
    assert time.process_time() - began < 2


def test_read_table_names_bad_rows_by_the_line_that_they_begin_on() -> None:
    table = read_table('fare,payment\n1,"two\nlines"\nabc,Cash\n\n1\n2,Cash,x\n4,Card\n', FORM)
    assert [(row.line, bool(row.problem)) for row in table.rows] == [
        (2, False),
        (4, True),
        (6, True),
        (7, True),
        (8, False),
    ]
    assert (
        "abc" in table.rows[1].problem,
        "1 fields" in table.rows[2].problem,
        "3 fields" in table.rows[3].problem,
    ) == (True,) * 3
    assert [row.line for row in table.good] == [2, 8]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing"),
        ("\n\n", "nothing"),
        ("fare\n", "no row"),
        ("a,b\n1,2\n", "fare, payment"),
        ("fare,fare\n1,2\n", "twice"),
        ('fare,payment\n1,"Cash\n', "[Ll]ine 2"),
        ('fare,payment\n1,"Ca"sh"\n', "[Ll]ine 2"),
        ("\ufeff", "nothing"),
        ("\x00", "names no input"),
        ("fare\n" + "1\n" * 1_001, "1,000"),
        ("fare\n" + "1\n" * 10_000, "1,000.*slipway predict --csv"),
        ("fare\n" + "1" * 1_000_000, "1,000,005 bytes"),
        ("fare,payment\n1," + "x" * 200_000, "[Ll]ine 2"),
    ],
)
def test_read_table_of_what_is_no_table_says_why(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_table(text, FORM)


def test_read_table_takes_a_thousand_rows() -> None:
    assert len(read_table("fare\n" + "1\n" * 1_000, FORM).rows) == 1_000


def test_write_table_keeps_the_rows_in_their_order_with_answers_and_reasons() -> None:
    table = read_table("fare,class\n1,a\nabc,b\n2,c\n3\n", FORM)
    written = list(csv.DictReader(io.StringIO(write_table(table, prediction(2)))))
    assert [row["predicted_class"] for row in written] == ["yes", "", "yes", ""]
    assert [row["score_yes"] for row in written] == ["0.75", "", "0.75", ""]
    assert [row["class"] for row in written] == ["a", "b", "c", ""]
    assert ("line 3" in written[1]["problem"], "line 5" in written[3]["problem"], written[0]["problem"]) == (
        True,
        True,
        "",
    )


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(1)", "\tx", "\r=1", "-1+2"])
def test_write_table_lets_no_text_begin_a_formula(text: str) -> None:
    table = read_table(f'fare,payment,"{text}"\n-1.5,"{text}",x\n', FORM)
    header, row = csv.reader(io.StringIO(write_table(table, prediction(1)), newline=""))
    assert (header[2], row[:2]) == (
        f"'{text.strip()}" if text.strip()[0] in "=+-@" else text.strip(),
        ["-1.5", f"'{text}"],
    )


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=5))
def test_any_cells_are_read_or_refused_and_written(cells: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("fare", "payment"), *cells])
    try:
        table = read_table(text.getvalue(), FORM)
    except DataError:
        return
    good = len(table.good)
    written = write_table(table, prediction(good) if good else None)
    assert len(list(csv.reader(io.StringIO(written, newline="")))) == 1 + len(table.rows)
