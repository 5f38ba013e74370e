"""What a person types becomes a value, or is refused with the reason."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from serving.predict_page.form import Field, Form, Value, read_form
from slipway.errors import ConfigError, DataError

FARE = Field(name="fare", dtype="float32", low=0.0, high=10_000.0)
AREA = Field(name="area", dtype="int64", low=1, high=77)
PAYMENT = Field(name="payment", dtype="string", choices=("Cash", "Card"), is_open=False)
COMPANY = Field(name="company", dtype="string", choices=("Flash Cab",))
TAGS = Field(name="tags", dtype="string", many=True)
POINT = Field(name="point", dtype="float32", shape=(2,))
SINCE = Field(name="since", dtype="int64", moment="milliseconds")
DAY = Field(name="day", dtype="string", moment="%d.%m.%Y")
PIXELS = Field(name="pixels", dtype="int64", shape=(2, 2, 1))


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (FARE, " 12.50 ", 12.5),
        (FARE, "1e3", 1000.0),
        (FARE, "", None),
        (FARE, "  ", None),
        (AREA, "77.0", 77),
        (AREA, "7e1", 70),
        (PAYMENT, "Cash", "Cash"),
        (COMPANY, "Another Cab", "Another Cab"),
        (COMPANY, " as it is ", " as it is "),
        (TAGS, "a, b", ["a", "b"]),
        (POINT, "1,2.5", [1.0, 2.5]),
        (SINCE, "1700000000000", 1_700_000_000_000),
        (SINCE, "2023-11-14T22:13:20", 1_700_000_000_000),
        (DAY, "2024-02-29", "29.02.2024"),
        (DAY, "29.02.2024", "29.02.2024"),
    ],
)
def test_read_what_fits_is_a_value(field: Field, text: str, value: Value) -> None:
    found = field.read(text)
    assert (found, type(found)) == (value, type(value))


def test_read_of_a_long_number_takes_no_time() -> None:
    began = time.process_time()
    with pytest.raises(DataError, match="no number"):
        FARE.read("1" * 9_999 + "x")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        (FARE, "abc", "'abc'"),
        (FARE, "nan", "no number"),
        (FARE, "Infinity", "no number"),
        (FARE, "1_000", "no number"),
        (FARE, "12,5", "no number"),
        (FARE, "١٢", "no number"),
        (FARE, "1e39", "too large"),
        (FARE, "-1", "0 to 10,000"),
        (FARE, "1e999999999", "no number"),
        (AREA, "1.5", "whole"),
        (AREA, "78", "1 to 77"),
        (AREA.model_copy(update={"low": None, "high": None}), "9223372036854775808", "too large"),
        (AREA.model_copy(update={"low": None, "high": None}), "-9223372036854775808", "too large"),
        (AREA.model_copy(update={"high": None}), "0", "from 1 on"),
        (PAYMENT, "cash", "Cash, Card"),
        (COMPANY, "x" * 10_001, "10,001"),
        (POINT, "1", "2"),
        (TAGS, ",".join("a" * 1_001), "1,000"),
        (PIXELS, "data:image/png;base64,AAAA", "whole image"),
        (PIXELS, "data:image/png;base64,%%", "no picture"),
        (FARE.model_copy(update={"required": True}), " ", "needed"),
    ],
)
def test_read_what_does_not_fit_says_why(field: Field, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        field.read(text)


def test_write_is_read_again_as_the_same_value() -> None:
    for field, value in ((FARE, 12.25), (AREA, 3), (TAGS, ["a", "b"]), (PIXELS, [0, 50, 100, 255]), (COMPANY, "x")):
        assert field.read(field.write(value)) == value


def test_write_of_a_whole_float_has_no_point() -> None:
    assert FARE.write(18.0) == "18"


def test_picked_is_what_a_browsers_date_field_takes() -> None:
    assert SINCE.picked("1700000000000") == "2023-11-14T22:13:20"
    assert DAY.picked("29.02.2024") == "2024-02-29"
    assert (DAY.picked("soon"), SINCE.picked("9" * 18), SINCE.picked("")) == ("", "", "")


@pytest.mark.parametrize(
    ("field", "kind"),
    [(FARE, "number"), (PAYMENT, "choice"), (TAGS, "list"), (POINT, "list"), (SINCE, "time"), (DAY, "date"),
     (PIXELS, "image"), (Field(name="x", dtype="string"), "text")],
)  # fmt: skip
def test_kind_is_how_a_field_is_asked_for(field: Field, kind: str) -> None:
    assert field.kind == kind


def test_form_read_names_every_field_that_is_wrong() -> None:
    form = Form(model="taxi", fields=(FARE, AREA, PAYMENT))
    row, problems = form.read({"fare": "abc", "area": "500", "payment": "Card"})
    assert row == {"payment": "Card"}
    assert set(problems) == {"fare", "area"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is ''"),
        (b'{"model": "taxi", "fie', "line 1 column"),
        (b"\xff\xfe", "the file is"),
        (b"[]", "the file is []"),
        (b'{"model": "taxi", "fields": [{"name": "fare", "dtype": "money"}]}', "fields.0.dtype is 'money'"),
        (b'{"model": "taxi"}', "fields is {'model': 'taxi'}: Field required"),
        (b'{"model": "taxi", "fields": []}', "its fields are none"),
        (b'{"model": "taxi", "fields": [{"name": "a", "dtype": "int64"}, {"name": "a", "dtype": "int64"}]}', "a, a"),
        (b'{"model": "loan", "fields": [{"name": "a", "dtype": "int64"}]}', "the form of loan"),
    ],
)
def test_a_file_that_is_no_form_has_one_line_with_the_value_and_the_fix(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "taxi.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_form(path, "taxi")
    text = str(error.value)
    assert (said in text, str(path) in text, "--write-form" in text) == (True, True, True)
    assert ("\n" in text, "pydantic" in text, len(text) < 500 + len(str(path)) * 2) == (False, False, True)


def test_a_folder_is_no_form(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        read_form(tmp_path, "taxi")
