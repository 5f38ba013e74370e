"""Cells and counts of odd columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from slipway.monitoring.counts import Cells, Outside, add, choose_cells, count

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "kind", "names", "counts"),
    [
        ([1.5, 2.5, 2.5, NAN, None, INF], "number", ["below 1.5", "1.5 to 2.5", "from 2.5", "other", "missing"],
         [0, 1, 3, 0, 2]),
        ([3, 1, 1, None], "category", ["1", "3", "other", "missing"], [2, 1, 0, 1]),
        (["b", "a", "b", "", None], "category", ["b", "a", "other", "missing"], [2, 1, 0, 2]),
        ([b"x", b"\xff", None], "category", ["x", "�", "other", "missing"], [1, 1, 0, 1]),
        ([None, None], "category", ["other", "missing"], [0, 2]),
        ([NAN], "number", ["any", "other", "missing"], [0, 0, 1]),
    ],
)  # fmt: skip
def test_cells_and_counts_of_training_rows(
    values: list[object], kind: str, names: list[str], counts: list[int]
) -> None:
    column = pa.array(values)
    cells = choose_cells(column)
    found = count(column, cells)
    assert (cells.kind, cells.names, found.counts) == (kind, names, counts)
    assert found.rows == len(values)
    assert len(found.counts) == len(cells.names) == cells.size


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ([14197.53, 16358.77, 27836.6], ["below 14.2k", "14.2k to 16.4k", "16.4k to 27.8k", "from 27.8k"]),
        ([0.150511, 0.200742], ["below 0.151", "0.151 to 0.201", "from 0.201"]),
        ([41.87811, 41.87822], ["below 41.8781", "41.8781 to 41.8782", "from 41.8782"]),
        ([2.0, 2.004], ["below 2", "2 to 2.004", "from 2.004"]),
    ],
)
def test_cells_of_numbers_have_names_as_short_as_tell_them_apart(edges: list[float], names: list[str]) -> None:
    assert Cells(kind="number", edges=edges).names[:-2] == names


def test_whole_numbers_are_a_category_while_they_are_few() -> None:
    assert choose_cells(pa.array(range(20))).kind == "category"
    assert choose_cells(pa.array(range(21))).kind == "number"


def test_ties_are_counted_where_they_are() -> None:
    values = pa.array([0.0] * 500 + list(np.linspace(1, 2, 500)))
    found = count(values, choose_cells(values))
    assert found.counts[found.cells.edges.index(0.0) + 1] >= 500


@pytest.mark.parametrize("sent", [[2, 2], [2.0, 2.0], ["2", "2"]])
def test_a_category_of_numbers_is_known_as_json_spells_it(sent: list[object]) -> None:
    cells = choose_cells(pa.array([1, 2, 2]))
    assert count(pa.array(sent), cells).counts == [2, 0, 0, 0]


def test_values_of_another_type_and_no_type_are_other_and_missing() -> None:
    cells = choose_cells(pa.array(np.arange(50) / 2))
    assert count(pa.array(["x", None]), cells).counts[-2:] == [1, 1]
    assert count(pa.nulls(3), cells).counts[-2:] == [0, 3]
    assert add(count(pa.array([1.0]), cells), count(pa.nulls(1), cells)).rows == 2


def test_numbers_outside_the_range_are_unusual_as_rarely_as_the_error_rate_says() -> None:
    rng, many, error_rate = np.random.default_rng(5), 2000, 0.01

    def judged(trained: np.ndarray, now: np.ndarray) -> Outside:
        outside = Outside(lowest=trained.min(), highest=trained.max())
        outside.add(pa.array(now))
        return outside.judged(len(trained), error_rate)

    found = [judged(rng.normal(size=1000), rng.normal(size=500)).is_unusual for _ in range(many)]
    assert 0 < sum(found) <= 1.5 * error_rate * many
    trained = rng.normal(size=1000)
    assert not judged(trained, np.append(rng.normal(size=499), 99.0)).is_unusual, "one is chance, however far"
    assert judged(trained, np.append(rng.normal(size=495), [99.0] * 5)).is_unusual
    odd = judged(trained, np.array([np.nan, -np.inf, 0.0]))
    assert (odd.rows, odd.below, odd.furthest) == (2, 1, -np.inf)
