"""Late, duplicate, contradictory and missing labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.errors import DataError
from slipway.module_api import Ingestion, Label
from slipway.monitoring.labels import REQUEST, Joined, Labels, open_labels

REQUESTS = pa.table(
    {
        "request_id": ["a", "a", "b", "c", "d", "e"],
        "instance": [0, 1, 0, 0, 0, 0],
        "trip": ["t1", "t2", "t3", "t4", "t5", "t5"],
        "score": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    }
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.parquet"


def join(file: Path, requests: pa.Table, told: pa.Table, label: str, key: Sequence[str] = REQUEST) -> Joined:
    pq.write_table(told, file)
    with closing(duckdb.connect()) as connection:
        return Labels(connection, file, told.num_rows, told.schema, key, label, None).of(requests)


def test_each_label_counts_once_and_contradictions_as_none(file: Path) -> None:
    labels = pa.table(
        {
            "request_id": ["b", "a", "a", "c", "c", "c", "x", "d"],
            "instance": [0, 0, 1, 0, 0, 0, 0, 0],
            "big_tip": [True, False, True, True, True, False, True, None],
        }
    )
    joined = join(file, REQUESTS, labels, "big_tip")
    assert joined.rows.select(["score", "big_tip"]).to_pydict() == {
        "score": [0.1, 0.2, 0.3],
        "big_tip": [False, True, True],
    }
    assert (joined.missing, joined.contradictory, joined.duplicates) == (3, 1, 0)
    again = join(file, REQUESTS, pa.concat_tables([labels.slice(0, 3)] * 3), "big_tip")
    assert (again.rows.num_rows, again.duplicates) == (3, 6)


def test_without_an_instance_the_first_is_meant(file: Path) -> None:
    joined = join(file, REQUESTS, pa.table({"request_id": ["a", "b"], "y": [1.0, 2.0]}), "y")
    assert joined.rows["score"].to_pylist() == [0.1, 0.3]


def test_a_callers_key_names_the_first_request_that_has_it(file: Path) -> None:
    joined = join(file, REQUESTS, pa.table({"trip": ["t5", "t1"], "score": [1, 0]}), "score", ["trip"])
    assert joined.rows.select(["trip", "score"]).to_pydict() == {"trip": ["t1", "t5"], "score": [0, 1]}
    assert (joined.repeated, joined.missing) == (1, 3)


def test_labels_that_have_not_come_leave_nothing_to_score(file: Path) -> None:
    joined = join(
        file, REQUESTS, pa.table({"trip": pa.array([], pa.string()), "y": pa.array([], pa.int64())}), "y", ["trip"]
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
def test_a_key_is_the_same_in_whatever_type_it_comes(file: Path, asked: list[object], told: list[object]) -> None:
    requests = pa.table({"trip": asked, "score": [0.1, 0.2]})
    joined = join(file, requests, pa.table({"trip": told, "y": [1, 0]}), "y", ["trip"])
    assert joined.rows.select(["score", "y"]).to_pydict() == {"score": [0.1], "y": [1]}
    assert joined.missing == 1


def test_labels_whose_key_is_of_quite_another_type_name_no_request(file: Path) -> None:
    requests = pa.table({"trip": [1.0, 2.0], "score": [0.1, 0.2]})
    told = pa.table({"trip": pa.array([1, 2], pa.date32()), "y": [1, 0]})
    assert join(file, requests, told, "y", ["trip"]).missing == 2


def test_labels_may_have_columns_of_any_name(file: Path) -> None:
    told = pa.table({"request_id": ["a", "c"], "k0": [1, 0]})
    assert join(file, REQUESTS, told, "k0").rows["k0"].to_pylist() == [1, 0]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_file_of_labels_without_values_leaves_nothing_to_score(file: Path, rows: int) -> None:
    empty = pa.table({"request_id": pa.nulls(rows), "instance": pa.nulls(rows), "y": pa.nulls(rows)})
    assert join(file, REQUESTS, empty, "y").rows.num_rows == 0


def test_what_is_not_there_is_named_with_the_setting(tmp_path: Path) -> None:
    told = tmp_path / "labels.csv"

    def read(key: Sequence[str] = REQUEST) -> None:
        with open_labels(str(told), Label(column="y"), "binary", Ingestion(), key):
            pass

    with pytest.raises(DataError, match=r"labels\.csv: there is no such file.*correct monitoring\.labels$"):
        read()
    told.write_text("request_id,y\na,1\n")
    read()
    with pytest.raises(DataError, match=r"no column 'ride', they have request_id, y; correct monitoring\.key"):
        read(["ride"])


def test_labels_of_requests_long_ago_take_no_room_of_those_that_count(tmp_path: Path) -> None:
    """Labels are never thinned out, however many were ever told."""
    told = tmp_path / "labels.csv"
    old = "".join(f"old-{number},1\n" for number in range(300_000))
    told.write_text(f"request_id,y\n{old}a,0\nb,1\n")
    with open_labels(str(told), Label(column="y"), "binary", Ingestion(), REQUEST) as labels:
        joined = labels.of(REQUESTS)
    assert labels.count == 300_002
    assert joined.rows["y"].to_pylist() == [0, 1]
