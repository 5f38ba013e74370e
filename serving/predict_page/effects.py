"""What moved an answer: the same row again and again, each time without one of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Effect(NamedTuple):
    """How much a value of the row moved the answer: `moved` is the answer with it minus the one without it."""

    name: str
    value: str
    instead: str
    moved: float


def variations(form: Form, row: Mapping[str, Value]) -> list[Variation]:
    """The row with each of its values in turn left out, or replaced where training never saw the field missing.

    Images and lists stay, and so do values that are the replacement themselves.
    """
    found: list[Variation] = []
    for field in form.fields:
        if row.get(field.name) is None or field.kind in ("image", "list") or len(found) == MOST_FIELDS:
            continue
        value, instead = _replacement(field)
        if value != row[field.name]:
            found.append(Variation(field, {**row, field.name: value}, instead))
    return found


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


def _replacement(field: Field) -> tuple[Value, str]:
    if field.saw_missing is False and field.typical:
        try:
            word = "the median" if field.kind == "number" else "the most frequent"
            return field.read(field.typical), f"{word}, {field.typical}"
        except DataError:  # the schema's bounds have changed since
            pass
    return None, "missing"
