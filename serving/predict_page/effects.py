"""What moved an answer: the same row again and again, each time without one of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from serving.predict_page.asking import Prediction
from serving.predict_page.form import Field, Form, Value
from slipway.errors import DataError

MOST_FIELDS = 200


class Variation(NamedTuple):
    """The row with another value of one field; `instead` says which."""

    field: Field
    row: dict[str, Value]
    instead: str


class Replacement(NamedTuple):
    """Another value of a field, and what it is."""

    value: Value
    said: str


_MISSING = Replacement(None, "missing")


class Effect(NamedTuple):
    """How much a value of the row moved the answer: `moved` is the answer with it minus the one without it."""

    name: str
    value: str
    instead: str
    moved: float


def variations(form: Form, row: Mapping[str, Value]) -> list[Variation]:
    """The row with each of its values in turn left out, or replaced where training never saw the field missing.

    Images and lists stay, and so do values with no other to stand in for them, and those after `MOST_FIELDS`.
    """
    found: list[Variation] = []
    for field in form.fields:
        value = row.get(field.name)
        if value is not None and is_single(field) and len(found) < MOST_FIELDS and (other := replacement(field, value)):
            found.append(Variation(field, {**row, field.name: other.value}, other.said))
    return found


def is_single(field: Field) -> bool:
    """Whether it has one value, which can be left out or replaced."""
    return field.kind not in ("image", "list")


def replacement(field: Field, value: Value) -> Replacement | None:
    """What stands in for a value; None where training knows no other, and never saw the field missing."""
    if field.saw_missing is not False or not field.typical:
        return _MISSING
    word = "the most frequent" if field.dtype == "string" else "the median"
    known = []
    for text, said in ((field.typical, word), (field.next_typical, "the most frequent other")):
        with suppress(DataError):  # the schema's bounds have changed since
            known += [Replacement(field.read(text), f"{said}, {text}")] if text else []
    return next((one for one in known if one.value != value), None if known else _MISSING)


def effects(row: Mapping[str, Value], varied: Sequence[Variation], prediction: Prediction) -> list[Effect]:
    """The effects on the answer to the row, which is the prediction's first, before those to its variations.

    Of classes it is the probability of the likeliest one. The largest effect comes first.
    """
    values = prediction.values[:, prediction.chosen()] if prediction.classes else prediction.values
    found = [
        Effect(one.field.name, one.field.write(row[one.field.name]), one.instead, float(values[0] - values[place]))
        for place, one in enumerate(varied, 1)
    ]
    return sorted(found, key=lambda one: abs(one.moved), reverse=True)
