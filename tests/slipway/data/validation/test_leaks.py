"""What predicts the label alone, or summed, is named; what does not, is not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.data.validation import leaks
from slipway.data.validation.leaks import Leak, find_leaks
from slipway.data.validation.report import describe_anomaly
from tests.example_artifacts import write_examples
from tests.slipway.data.validation.validated import validate

Columns = dict[str, Any]


def _split(columns: Columns) -> tuple[Columns, Columns]:
    rows = len(next(iter(columns.values()))) * 2 // 3
    parts = {name: [None if value != value else value for value in np.asarray(values).tolist()]
             for name, values in columns.items()}  # fmt: skip
    return {name: values[:rows] for name, values in parts.items()}, {name: each[rows:] for name, each in parts.items()}


def _leaks(folder: Path, columns: Columns) -> list[Leak]:
    """The last column is the label."""
    *names, label = columns
    return find_leaks(write_examples(folder, *_split(columns)), label, names)


def _named(leaks: list[Leak]) -> dict[tuple[str, ...], str]:
    return {leak.columns: leak.how for leak in leaks}


@pytest.fixture(params=[300, 6_000])
def rows(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_find_leaks_names_what_tells_one_of_two_classes(tmp_path: Path, rows: int) -> None:
    chance = np.random.default_rng(1)
    amount, label = chance.lognormal(size=rows), chance.integers(0, 2, rows)
    churned_at = np.where(label == 1, 1.6e9 + chance.integers(0, 10**7, rows), np.nan)
    columns = {
        "amount": amount, "city": chance.choice(["Bern", "Basel"], rows),
        "copy": np.where(label == 1, "left", "stayed"),
        "churned_at": churned_at,
        "nearly": np.where(chance.random(rows) < 0.008, 1 - label, label),
        "half": np.where(chance.random(rows) < 0.5, chance.integers(0, 2, rows), label),
        "y": label,
    }  # fmt: skip
    assert _named(_leaks(tmp_path, columns)) == {("copy",): "copy", ("churned_at",): "alone", ("nearly",): "alone"}


def test_find_leaks_names_the_terms_of_a_sum_and_no_others(tmp_path: Path, rows: int) -> None:
    chance = np.random.default_rng(2)
    a, b, c, other = chance.lognormal(size=(4, rows))
    columns = {"a": a, "b": b, "c": c, "other": other}
    for name, label in {"above": (a + b + 0.5 * c > 3).astype(int), "total": a + b + c}.items():
        assert _named(_leaks(tmp_path / name, {**columns, "y": label})) == {("a", "b", "c"): "sum"}
    by_total = _leaks(tmp_path / "by_total", {"total": a + b, "other": other, "y": (a + b > 3).astype(int)})
    assert _named(by_total) == {("total",): "alone"}


def test_find_leaks_of_a_number_in_another_unit_or_curve(tmp_path: Path, rows: int) -> None:
    chance = np.random.default_rng(3)
    celsius = chance.normal(10, 8, rows)
    columns = {"fahrenheit": celsius * 9 / 5 + 32, "cubed": celsius**3, "near": celsius + chance.normal(0, 8, rows),
               "y": celsius}  # fmt: skip
    assert _named(_leaks(tmp_path, columns)) == {("fahrenheit",): "copy", ("cubed",): "alone"}


def test_find_leaks_of_one_of_several_classes(tmp_path: Path, rows: int) -> None:
    chance = np.random.default_rng(4)
    label = chance.integers(0, 4, rows)
    columns = {
        "code": label * 10,
        "nearly": np.where(chance.random(rows) < 0.005, 0, label),
        "one_class": label == 2,
        "y": np.array(list("abcd"))[label],
    }
    assert _named(_leaks(tmp_path, columns)) == {("code",): "copy", ("nearly",): "alone"}


def test_find_leaks_of_columns_that_follow_chance_finds_nothing(tmp_path: Path) -> None:
    """920 columns, and sums of them: at one false alarm in a hundred, there would be nine."""
    chance = np.random.default_rng(5)
    for rows, classes in ((130, 2), (400, 2), (200, 3), (300, 0)):
        numbers = {f"x{index}": chance.lognormal(size=rows) for index in range(350)}
        texts = {f"k{index}": chance.integers(0, 2 + index, rows).astype(str) for index in range(200)}
        own = {f"id{index}": chance.permutation(rows) for index in range(200)}
        label = chance.integers(0, classes, rows) if classes else chance.normal(size=rows)
        assert (
            _leaks(tmp_path / f"{rows}-{classes}", {**texts, **own, **dict(list(numbers.items())[:30]), "y": label})
            == []
        )


def test_find_leaks_says_nothing_of_a_few_rows_or_of_a_label_of_one_value(tmp_path: Path) -> None:
    few = [index % 2 for index in range(50)]
    assert _leaks(tmp_path / "few", {"copy": few, "y": few}) == []
    rare = [int(index < 10) for index in range(900)]
    assert _leaks(tmp_path / "rare", {"copy": rare, "y": rare}) == []
    assert _leaks(tmp_path / "one", {"x": list(range(900)), "y": [1] * 900}) == []


def test_find_leaks_passes_over_lists_and_infinity(tmp_path: Path) -> None:
    label = [index % 2 for index in range(300)]
    odd = {"list": [[1.0]] * 300, "wild": [float("inf") if index % 7 == 0 else float(index) for index in range(300)]}
    odd |= {"endless": [float("inf")] * 300, "missing": [float("nan")] * 300}
    examples = write_examples(tmp_path, {**odd, "copy": label, "y": label})
    assert _named(find_leaks(examples, "y", [*odd, "copy"])) == {("copy",): "copy"}


def test_find_leaks_is_cheap(tmp_path: Path) -> None:
    """It takes half a second; twice as much and more where the machine is busy."""
    chance, rows = np.random.default_rng(6), 100_000
    columns: Columns = {f"x{index}": chance.normal(size=rows) for index in range(15)}
    columns |= {f"k{index}": chance.integers(0, 1000, rows).astype(str) for index in range(5)}
    examples = write_examples(tmp_path, {**columns, "y": chance.integers(0, 2, rows)})
    started = time.process_time()
    assert find_leaks(examples, "y", list(columns)) == []
    assert time.process_time() - started < 2


SCHEMA = """feature { name: "x" type: INT } feature { name: "closed" type: INT }
  feature { name: "y" type: INT not_in_environment: "SERVING" }"""
LEAKY = {"x": [index % 7 for index in range(400)], "closed": [index % 2 for index in range(400)],
         "y": [index % 2 for index in range(400)]}  # fmt: skip


def test_validate_examples_warns_of_a_leak_with_the_line_to_add(tmp_path: Path) -> None:
    (found,) = validate(tmp_path, SCHEMA, LEAKY).anomalies
    assert (found.severity, found.feature) == ("WARNING", "closed")
    assert "training_only: [closed]" in describe_anomaly(found)


def test_validate_examples_passes_over_what_the_model_does_not_see(tmp_path: Path) -> None:
    schema = SCHEMA.replace('"closed" type: INT', '"closed" type: INT not_in_environment: "SERVING"')
    assert validate(tmp_path, schema, LEAKY).anomalies == []


def test_find_leaks_among_a_thousand_columns_within_the_memory_of_few(tmp_path: Path) -> None:
    chance = np.random.default_rng(8)
    label = chance.integers(0, 2, 2_000)
    names = chance.choice(["a", "b", "c"], size=(500, 2_000))
    columns = {f"text {index}": values for index, values in enumerate(names)}
    columns |= {f"number {index}": values for index, values in enumerate(chance.normal(size=(500, 2_000)))}
    assert _named(_leaks(tmp_path, columns | {"copy": label * 7, "y": label})) == {("copy",): "copy"}


def test_sample_has_the_same_rows_in_each_group_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "SAMPLE_ROWS", 500)
    monkeypatch.setattr(leaks, "COLUMNS_AT_ONCE", 2)
    numbers = list(range(3_000))
    names = ["row", "rows", "drawn", "c0", "filename", "y"]
    examples = write_examples(tmp_path, dict.fromkeys(names, numbers), dict.fromkeys(names, numbers[:30]))
    sample = leaks._sample(examples, "train", "y", names)
    assert {name: len(values) for name, values in sample.items()} == dict.fromkeys(names, 500)
    for name in names:
        np.testing.assert_array_equal(sample[name], sample["y"])
    assert len(set(sample["y"])) == 500
    assert np.mean(sample["y"][:100]) == pytest.approx(1_500, abs=300), "the first are of all rows"
