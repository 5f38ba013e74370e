"""Each value of a row is left out, or replaced where training never saw that."""

from __future__ import annotations

import numpy as np

from serving.predict_page.asking import Prediction
from serving.predict_page.effects import effects, replacement, variations
from serving.predict_page.form import Field, Form, Value

FIELDS = (
    Field(name="optional", dtype="float32", saw_missing=True, typical="1"),
    Field(name="always", dtype="float32", saw_missing=False, typical="7.5"),
    Field(name="kind", dtype="string", saw_missing=False, typical="Cash", choices=("Cash", "Card")),
    Field(name="unknown", dtype="float32"),
    Field(name="typical", dtype="int64", saw_missing=False, typical="3"),
    Field(name="empty", dtype="float32", saw_missing=True),
    Field(name="picture", dtype="int64", shape=(2, 2)),
    Field(name="bounded", dtype="float32", saw_missing=False, typical="9", high=5.0),
)
ROW: dict[str, Value] = {
    "optional": 2.0, "always": 1.0, "kind": "Card", "unknown": 4.0, "typical": 3, "empty": None, "picture": [0] * 4,
    "bounded": 1.0,
}  # fmt: skip


def test_variations_leave_a_value_out_or_replace_it_and_say_which() -> None:
    varied = variations(Form(model="m", fields=FIELDS), ROW)
    found = {one.field.name: (one.row[one.field.name], one.instead) for one in varied}
    assert found.keys() == {"optional", "always", "kind", "unknown", "bounded"}
    assert found["optional"] == found["unknown"] == found["bounded"] == (None, "missing")
    assert found["always"][0] == 7.5
    assert ("median" in found["always"][1], "7.5" in found["always"][1]) == (True, True)
    assert found["kind"][0] == "Cash"
    assert ("most frequent" in found["kind"][1], "Cash" in found["kind"][1]) == (True, True)
    assert all({**one.row, one.field.name: ROW[one.field.name]} == ROW for one in varied)


def test_a_usual_value_is_compared_with_the_most_frequent_other() -> None:
    cash = Field(name="kind", dtype="string", saw_missing=False, typical="Cash", next_typical="Card")
    term = Field(name="term", dtype="int64", saw_missing=False, typical="360", next_typical="180")
    alone = Field(name="alone", dtype="int64", saw_missing=False, typical="3")
    found = [replacement(field, value) for field, value in ((cash, "Cash"), (term, 360), (term, 12), (alone, 3))]
    assert [one and one.value for one in found] == ["Card", 180, 360, None]
    assert [one and one.said for one in found] == [
        "the most frequent other, Card", "the most frequent other, 180", "the median, 360", None
    ]  # fmt: skip


def test_effects_are_of_the_likeliest_class_and_the_largest_comes_first() -> None:
    varied = variations(Form(model="m", fields=FIELDS[:3]), ROW)
    answers = np.array([[0.2, 0.8], [0.3, 0.7], [0.05, 0.95], [0.9, 0.1]])
    found = effects(ROW, varied, Prediction(1, ("no", "yes"), answers, 0.0, frozenset()))
    assert [(one.name, round(one.moved, 6)) for one in found] == [("kind", 0.7), ("always", -0.15), ("optional", 0.1)]


def test_effects_of_a_regression_are_in_its_unit() -> None:
    varied = variations(Form(model="m", fields=FIELDS[:1]), ROW)
    [found] = effects(ROW, varied, Prediction(1, (), np.array([100.0, 130.0]), 0.0, frozenset()))
    assert (found.moved, found.value, found.instead) == (-30.0, "2", "missing")
