"""Late, duplicate, contradictory and missing labels."""

from __future__ import annotations

import pyarrow as pa
import pytest

from slipway.errors import DataError
from slipway.monitoring.labels import join_labels

REQUESTS = pa.table(
    {
        "request_id": ["a", "a", "b", "c", "d", "e"],
        "instance": [0, 1, 0, 0, 0, 0],
        "trip": ["t1", "t2", "t3", "t4", "t5", "t5"],
        "score": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    }
)


def test_each_label_counts_once_and_contradictions_as_none() -> None:
    labels = pa.table(
        {
            "request_id": ["b", "a", "a", "c", "c", "c", "x", "d"],
            "instance": [0, 0, 1, 0, 0, 0, 0, 0],
            "big_tip": [True, False, True, True, True, False, True, None],
        }
    )
    joined = join_labels(REQUESTS, labels, "big_tip")
    assert joined.rows.select(["score", "big_tip"]).to_pydict() == {
        "score": [0.1, 0.2, 0.3],
        "big_tip": [False, True, True],
    }
    assert (joined.missing, joined.contradictory, joined.unmatched, joined.duplicates) == (3, 1, 1, 0)
    again = join_labels(REQUESTS, pa.concat_tables([labels.slice(0, 3)] * 3), "big_tip")
    assert (again.rows.num_rows, again.duplicates) == (3, 6)


def test_without_an_instance_the_first_is_meant() -> None:
    joined = join_labels(REQUESTS, pa.table({"request_id": ["a", "b"], "y": [1.0, 2.0]}), "y")
    assert joined.rows["score"].to_pylist() == [0.1, 0.3]


def test_a_callers_key_names_the_first_request_that_has_it() -> None:
    joined = join_labels(REQUESTS, pa.table({"trip": ["t5", "t1"], "score": [1, 0]}), "score", ["trip"])
    assert joined.rows.select(["trip", "score"]).to_pydict() == {"trip": ["t1", "t5"], "score": [0, 1]}
    assert (joined.repeated, joined.missing) == (1, 3)


def test_labels_that_have_not_come_leave_nothing_to_score() -> None:
    joined = join_labels(
        REQUESTS, pa.table({"trip": pa.array([], pa.string()), "y": pa.array([], pa.int64())}), "y", ["trip"]
    )
    assert (joined.rows.num_rows, joined.missing) == (0, 5)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([1, 2], ["1", "A2"]),
        (["1", "2"], [1, 3]),
        ([1.0, 2.5], [1, 3]),
        ([1, 2], [1.0, 3.0]),
        (["1", "2"], [1.0, 3.0]),
    ],
)
def test_a_key_is_the_same_in_whatever_type_it_comes(asked: list[object], told: list[object]) -> None:
    requests = pa.table({"trip": asked, "score": [0.1, 0.2]})
    joined = join_labels(requests, pa.table({"trip": told, "y": [1, 0]}), "y", ["trip"])
    assert joined.rows.select(["score", "y"]).to_pydict() == {"score": [0.1], "y": [1]}
    assert (joined.missing, joined.unmatched) == (1, 1)


@pytest.mark.parametrize("rows", [0, 2])
def test_a_file_of_labels_without_values_leaves_nothing_to_score(rows: int) -> None:
    empty = pa.table({"request_id": pa.nulls(rows), "instance": pa.nulls(rows), "y": pa.nulls(rows)})
    assert join_labels(REQUESTS, empty, "y").rows.num_rows == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="the labels have no column 'y', they have request_id, z"):
        join_labels(REQUESTS, pa.table({"request_id": ["a"], "z": [1]}), "y")
    with pytest.raises(DataError, match="the requests have no column 'ride'"):
        join_labels(REQUESTS, pa.table({"ride": ["a"], "y": [1]}), "y", ["ride"])
