"""Samples of very many rows, drawn by their keys."""

from __future__ import annotations

import pyarrow as pa
import pytest

from slipway.monitoring import sample
from slipway.monitoring.sample import Sample, drawn


def rows(first: int, after: int) -> pa.Table:
    return pa.table({"trip": list(range(first, after)), "x": [0.5] * (after - first)})


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LIMIT", 1_000)


def test_few_rows_are_all_kept() -> None:
    kept = Sample("trip")
    kept.add(rows(0, 1_000))
    assert (kept.share, kept.rows.num_rows) == (1.0, 1_000)


def test_many_rows_are_halved_until_they_are_few_enough() -> None:
    kept = Sample("trip")
    for first in range(0, 10_000, 500):
        kept.add(rows(first, first + 500))
        assert kept.rows.num_rows <= 1_000
    assert kept.share == 1 / 16
    assert 500 < kept.rows.num_rows < 750


def test_the_same_keys_are_kept_whatever_their_type_and_order() -> None:
    numbers, texts = Sample("trip"), Sample("trip")
    numbers.add(rows(0, 10_000))
    texts.add(pa.table({"trip": [str(number) for number in reversed(range(5_000))]}))
    assert texts.share > numbers.share
    few = drawn(texts.rows, "trip", numbers.share)["trip"].to_pylist()
    assert {int(text) for text in few} == {one for one in numbers.rows["trip"].to_pylist() if one < 5_000}


def test_a_missing_key_is_in_no_smaller_sample() -> None:
    assert drawn(pa.table({"trip": [None, "a"]}), "trip", 0.999999)["trip"].to_pylist() == ["a"]
