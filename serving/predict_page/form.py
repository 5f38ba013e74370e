"""What the form of a model asks for, and how what a person types becomes a row of the model.

A value is text here, as in a form and in a CSV file; an empty one is missing. `read` is the only reader, so that form
and table take and refuse the same values.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.data.images import data_uri, decode_image, encode_png, is_image
from slipway.data.tensors import MISSING_INT, DType
from slipway.errors import ConfigError, DataError

Value = float | int | str | list[float] | list[int] | list[str] | None

MAX_TEXT = 10_000  # characters of a value
MAX_VALUES = 1_000  # of a list
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_DATA_URI = "data:image/png;base64,"
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Field(BaseModel):
    """One input of the model, with what its schema and its training say of it."""

    model_config = ConfigDict(frozen=True)

    name: str
    dtype: DType
    shape: tuple[int, ...] = ()
    many: bool = False
    description: str = ""
    unit: str = ""
    choices: tuple[str, ...] = ()
    is_open: bool = True
    low: int | float | None = None
    high: int | float | None = None
    moment: str = ""
    required: bool = False
    saw_missing: bool | None = None
    typical: str = ""
    next_typical: str = ""

    # What the less plain ones mean:
    #   is_open      other values than the choices are taken, too
    #   moment       of a time: a unit since 1970 (`seconds`, …), or how the text is written, in terms of strptime
    #   saw_missing  whether training had rows without it; None where that is not known
    #   typical      the median of the training rows' numbers, or their most frequent text
    #   next_typical the most frequent value but that one; of numbers with many values there is none

    @property
    def is_image(self) -> bool:
        """Whether a picture may be chosen for it."""
        return self.dtype == "int64" and is_image(self.shape)

    @property
    def kind(self) -> Literal["image", "list", "choice", "date", "time", "number", "text"]:
        """How it is asked for."""
        if self.is_image:
            return "image"
        if self.many or self.shape:
            return "list"
        if self.choices:
            return "choice"
        if self.moment:
            return "time" if self.moment in _UNITS or "%H" in self.moment else "date"
        return "text" if self.dtype == "string" else "number"

    def read(self, text: str) -> Value:
        """The value that a text stands for; None is a missing one.

        Raises:
            DataError: it is none of this field; the message says why, without the field's name.
        """
        if not text.strip():
            if self.required:
                raise DataError("is needed: every row that the model was trained on has it")
            return None
        if self.is_image and text.startswith(_DATA_URI):
            return self.read_image(_decoded(text.removeprefix(_DATA_URI)))
        if self.many or self.shape:
            return self._read_list(text)
        return self._read_one(text)

    def read_image(self, content: bytes) -> list[int]:
        """The values of a PNG or JPEG; otherwise as `read`."""
        pixels: list[int] = decode_image(content, self.shape).astype(np.int64).tolist()
        return pixels

    def write(self, value: Value) -> str:
        """The text of a value, which `read` reads."""
        if value is None:
            return ""
        if self.is_image and isinstance(value, list):
            return data_uri(encode_png(np.array(value), self.shape, 0, 255))
        if isinstance(value, list):
            return ", ".join(map(plain, value))
        return plain(value)

    def picked(self, text: str) -> str:
        """A time as a browser's own field for dates has it; empty where the text is no such time."""
        try:
            value = self._read_one(text)
            if self.moment in _UNITS and isinstance(value, int):
                when = _EPOCH + timedelta(microseconds=value * 10**6 // _UNITS[self.moment])
            else:
                when = datetime.strptime(str(value), self.moment)
        except (DataError, ValueError, OverflowError):
            return ""
        return when.strftime("%Y-%m-%d" if self.kind == "date" else "%Y-%m-%dT%H:%M:%S")

    def _read_list(self, text: str) -> Value:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > MAX_VALUES and not self.shape:
            raise DataError(f"has {len(parts):,} values; {MAX_VALUES:,} at most")
        if self.shape and len(parts) != np.prod(self.shape):
            raise DataError(f"has {len(parts):,} values, separated by commas; the model takes {np.prod(self.shape):,}")
        return [self._read_one(part) for part in parts]  # type: ignore[return-value]

    def _read_one(self, text: str) -> float | int | str:
        if len(text) > MAX_TEXT:
            raise DataError(f"has {len(text):,} characters; {MAX_TEXT:,} at most")
        if self.moment:
            text = self._as_in_the_data(text)
        if self.choices and not self.is_open and text not in self.choices:
            raise DataError(f"is {_shown(text)}, which is none of {', '.join(self.choices[:20])}")
        if self.dtype == "string":
            return text
        return self._bounded(self._read_number(text.strip()), text)

    def _read_number(self, text: str) -> float | int:
        if not _NUMBER.fullmatch(text):
            raise DataError(f"is {_shown(text)}, which is no number: write it as 12.5")
        if self.dtype == "float32":
            value = float(text)
            if abs(value) > float(np.finfo(np.float32).max):
                raise DataError(f"is {_shown(text)}, which is too large for a number of the model")
            return value
        whole = Decimal(text)
        if whole != whole.to_integral_value():
            raise DataError(f"is {_shown(text)}; the model takes whole numbers")
        if not MISSING_INT < whole < 2**63:
            raise DataError(f"is {_shown(text)}, which is too large for a number of the model")
        return int(whole)

    def _bounded(self, value: float | int, text: str) -> float | int:
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            low, high = (None if one is None else f"{one:,}".removesuffix(".0") for one in (self.low, self.high))
            span = f"from {low} to {high}" if low and high else f"from {low} on" if low else f"up to {high}"
            raise DataError(f"is {_shown(text)}; its schema has values {span}")
        return value

    def _as_in_the_data(self, text: str) -> str:
        """A time that a browser's field has as the data has it; other text stays as it is."""
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            return text
        if self.moment not in _UNITS:
            return when.strftime(self.moment)
        # A number of eight digits is ISO's date without its dashes, too.
        if "-" not in text:
            return text
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
        return str(since // timedelta(microseconds=1) * _UNITS[self.moment] // 10**6)


class Form(BaseModel):
    """The form of one model; `slipway predict-page --write-form` keeps it in a file."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: int | None = None
    question: str = ""
    label: str = ""
    fields: tuple[Field, ...]
    rows: tuple[dict[str, str], ...] = ()
    usual_error: float | None = None

    @property
    def only_image(self) -> Field | None:
        """The input of a model that takes a picture and nothing else."""
        return self.fields[0] if len(self.fields) == 1 and self.fields[0].is_image else None

    # version      that it describes; None where it was made of a server's signature
    # rows         real ones of the evaluation split, which fill the form
    # usual_error  of a regression: the mean absolute error on the evaluation split

    def row(self, number: int) -> dict[str, str]:
        """A real row; without any, an empty one."""
        return self.rows[number % len(self.rows)] if self.rows else {}

    def read(self, texts: Mapping[str, str]) -> tuple[dict[str, Value], dict[str, str]]:
        """The row that the texts of the fields stand for, and what is wrong, by field."""
        row: dict[str, Value] = {}
        problems: dict[str, str] = {}
        for field in self.fields:
            try:
                row[field.name] = field.read(texts.get(field.name, ""))
            except DataError as error:
                problems[field.name] = str(error)
        return row, problems


def plain(value: float | int | str) -> str:
    """A number as a person would type it, without `.0`; text as it is."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def read_form(path: Path, model: str) -> Form:
    """A form from a file; ConfigError if it is none, or of another model."""
    fix = f"`slipway predict-page {model} --write-form {path}` writes one"
    try:
        form = Form.model_validate_json(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; {fix}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        given = repr(problem["input"])
        raise ConfigError(
            f"{path} is no form: {where} is {given if len(given) <= 80 else given[:80] + '…'}: {problem['msg']}; {fix}"
        ) from error
    if not form.fields or len({field.name for field in form.fields}) < len(form.fields):
        named = ", ".join(field.name for field in form.fields) or "none"
        raise ConfigError(f"{path} is no form: its fields are {named}, and it needs one of each name; {fix}")
    if form.model != model:
        raise ConfigError(f"{path} is the form of {form.model}, not of {model}: write it again with --write-form")
    return form


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise DataError("is no picture") from error


def _shown(text: str) -> str:
    return repr(text[:60] + "…" if len(text) > 60 else text)
