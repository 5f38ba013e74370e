"""A label in whose expression NaN occurs is missing, as NaN is everywhere; to DuckDB it is the largest number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.errors import ConfigError
from tests.slipway.data.examples.ingesting import Ingested, ingest

NAN, INFINITY = float("nan"), float("inf")
# Three kinds of rows: nothing of nothing, a tip of a half, no tip.
COLUMNS: dict[str, list[Any]] = {
    "tips": [0.0, 1.0, 0.0], "fare": [0.0, 2.0, 1.0], "none": [-1.0, 1.0, 4.0], "ratio": [NAN, 0.5, 0.0],
    "text": ["nan", "0.5", "0"], "list": [[NAN, 1.0], [0.5], [0.0, 0.1]], "big": [INFINITY, 3.0, 1.0],
}  # fmt: skip


def _write(folder: Path, extension: str) -> Path:
    """30 rows of each kind; Arrow's Parquet says in its statistics nothing of NaN."""
    rows = [{"id": n} | {name: values[n % 3] for name, values in COLUMNS.items()} for n in range(90)]
    path = folder / f"data{extension}"
    if extension == ".parquet":
        table = pa.Table.from_pylist(rows)
        pq.write_table(table.append_column("single", table["ratio"].cast(pa.float32())), path)
    else:
        lines = [",".join(str(row[name]) for name in row if name != "list") for row in rows]
        path.write_text("\n".join([",".join(name for name in rows[0] if name != "list"), *lines]) + "\n")
    return path


def _labels(ingested: Ingested) -> list[Any]:
    """Of the three kinds of rows."""
    labels = dict(zip(ingested.column("id"), ingested.column("y"), strict=True))
    kinds = [{labels.get(n) for n in range(kind, 90, 3)} for kind in range(3)]
    assert all(len(kind) == 1 for kind in kinds)
    return [kind.pop() for kind in kinds]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("data"), ".parquet")


RARER: list[tuple[str, list[Any]]] = [
    ("CASE WHEN tips / fare > 0.2 THEN 'a' ELSE 'b' END", [None, "a", "b"]),
    ("CASE tips / fare WHEN 0.5 THEN 1 ELSE 0 END", [None, 1, 0]),
    ("if(tips / fare > 0.2, 1, 0)", [None, 1, 0]),
    ("round(sqrt(abs(tips / fare)), 1) > 0.2", [None, 1, 0]),
    ("CAST(tips / fare AS FLOAT) > 0.2", [None, 1, 0]),
    ("CAST(tips / fare AS VARCHAR) = '0.5'", [None, 1, 0]),
    ("TRY_CAST(tips / fare AS INTEGER) = 0", [None, 1, 1]),
    ("TRY(tips / fare) > 0.2", [None, 1, 0]),
    ("{'a': tips / fare}.a > 0.2", [None, 1, 0]),
    ("[tips / fare][1] > 0.2", [None, 1, 0]),
    ("list_max([tips / fare, 0.1]) > 0.2", [None, 1, 0]),
    ("len(list_filter([tips], lambda tip: tip / fare > 0.2)) > 0", [None, 1, 0]),
    ("len([tip / fare for tip in [tips, 4.0] if tip / fare > 0.2]) > 1", [None, 1, 0]),
    ("(SELECT tips / fare) > 0.2", [None, 1, 0]),
    ("tips / fare > (SELECT 0.2)", [None, 1, 0]),
    ("(SELECT CASE WHEN tips / fare > 0.2 THEN 1 ELSE 0 END)", [None, 1, 0]),
    ("EXISTS (SELECT 1 WHERE tips / fare > 0.2)", [None, 1, 0]),
    ("0.2 < ALL (SELECT tips / fare)", [None, 1, 0]),
    ("1 IN (SELECT if(tips / fare > 0.2, 1, 0))", [None, 1, 0]),
    ("tips / fare > 0.2 -- of the fare", [None, 1, 0]),
    ('"tips" / "fare" > 0.2 /* of the fare */', [None, 1, 0]),
    ("sqrt(none) > 1", [None, 0, 1]),
    ("ln(none) > 0", [None, 0, 1]),
    ("pow(none, 0.5) > 1", [None, 0, 1]),
    ("big - big > 1", [None, 0, 0]),
    ("big / big > 0.5", [None, 1, 1]),
    ("tips * big > 1", [None, 1, 0]),
    ("sin(big) > 0.5", [None, 0, 1]),
    ("CAST(text AS DOUBLE) > 0.2", [None, 1, 0]),
    ("ratio > 0.2", [None, 1, 0]),
    ("single > 0.2", [None, 1, 0]),
    ("NOT (ratio <= 0.2)", [None, 1, 0]),
    ("list_max(list) > 0.2", [None, 1, 0]),
    ("list[1] > 0.2", [None, 1, 0]),
    ("len(list_filter(list, lambda each: each > 0.2)) > 0", [None, 1, 0]),
]


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("tips / fare > 0.2", [None, 1, 0]),
        ("NOT (tips / fare > 0.2)", [None, 0, 1]),
        ("0.2 < tips / fare", [None, 1, 0]),
        ("tips / fare", [None, 0.5, 0.0]),
        ("tips / fare <> 0.5", [None, 0, 1]),
        ("tips / fare BETWEEN 0.1 AND 9", [None, 1, 0]),
        ("0.2 BETWEEN 0 AND tips / fare", [None, 1, 0]),
        ("tips / fare IN (0.5, 1)", [None, 1, 0]),
        ("tips / fare NOT IN (0.5, 1)", [None, 0, 1]),
        ("tips / fare IS DISTINCT FROM 0.5", [None, 0, 1]),
        ("tips / fare IS NULL", [None, 0, 0]),
        ("tips / fare > 0.2 OR tips < 9", [None, 1, 1]),
        ("fare > 0 AND tips / fare > 0.2", [None, 1, 0]),
        ("greatest(tips / fare, 0.1) > 0.2", [None, 1, 0]),
        ("least(tips / fare, 0.1) < 0.1", [None, 0, 1]),
        ("coalesce(tips / fare, 0) > 0.2", [None, 1, 0]),
        ("isnan(tips / fare)", [None, 0, 0]),
        ("isfinite(tips / fare)", [None, 1, 1]),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in RARER),
    ],
)
def test_ingest_label_is_missing_where_nan_occurs(
    data: Path, tmp_path: Path, expression: str, labels: list[Any]
) -> None:
    ingested = ingest(data, tmp_path / "out", label={"column": "y", "expression": expression})
    assert _labels(ingested) == labels
    assert ingested.rows.unlabelled == 30


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("CASE WHEN fare > 0 THEN tips / fare > 0.2 ELSE false END", [0, 1, 0]),
        ("CASE WHEN fare = 0 THEN 0 WHEN tips / fare > 0.2 THEN 1 ELSE 0 END", [0, 1, 0]),
        ("if(fare > 0, tips / fare > 0.2, false)", [0, 1, 0]),
        ("coalesce(tips / nullif(fare, 0), 0) > 0.2", [0, 1, 0]),
        ("coalesce(fare, tips / fare) > 0", [0, 1, 1]),
        ("tips > 0.2 * fare", [0, 1, 0]),
        ("(SELECT y FROM (VALUES (true, 1), (false, 0)) AS known(large, y) WHERE large = (tips > 0.5))", [0, 1, 0]),
        ("(tips + 1) / fare > 0.2", [1, 1, 1]),
        ("ratio IS NULL", [1, 0, 0]),
        ("coalesce(ratio, 0) > 0.2", [0, 1, 0]),
        ("text = 'nan'", [1, 0, 0]),
        ("CASE WHEN text <> 'nan' AND CAST(text AS DECIMAL(3, 1)) > 0.2 THEN 1 ELSE 0 END", [0, 1, 0]),
        ("CASE WHEN text = 'nan' OR CAST(text AS DECIMAL(3, 1)) > 9 THEN false ELSE tips / fare > 0.2 END", [0, 1, 0]),
        ("coalesce(TRY(CAST(text AS DECIMAL(3, 1))), 0) > 0.2", [0, 1, 0]),
    ],
)
def test_ingest_label_without_nan_is_as_duckdb_says(
    data: Path, tmp_path: Path, expression: str, labels: list[Any]
) -> None:
    """What is not evaluated is not NaN; infinity is a number; NaN in the data is null before the expression sees it."""
    ingested = ingest(data, tmp_path / "out", label={"column": "y", "expression": expression})
    assert _labels(ingested) == labels


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT count(*) FROM (VALUES (1)) AS one(x) WHERE tips / fare > 0.2)",
        "(SELECT if(tips / fare > 0.2, 1, 0) UNION ALL SELECT 2 LIMIT 1)",
        "(WITH share AS (SELECT tips / fare AS x) SELECT if(x > 0.2, 1, 0) FROM share)",
        "(SELECT if(x > 0.2, 1, 0) FROM (SELECT tips / fare AS x) AS share)",
        "list_reduce([tips, fare], lambda x, y: if(x / y > 0.2, 1.0, 0.0))",
    ],
)
def test_ingest_label_that_computes_where_nan_goes_unseen_is_refused(
    data: Path, tmp_path: Path, expression: str
) -> None:
    with pytest.raises(ConfigError, match=r"label\.expression.*NaN"):
        ingest(data, tmp_path / "out", label={"column": "y", "expression": expression})


def test_ingest_label_from_csv_is_missing_where_nan_occurs(tmp_path: Path) -> None:
    data = _write(tmp_path, ".csv")
    for expression in ("tips / fare > 0.2", "CAST(text AS DOUBLE) > 0.2", "ratio > 0.2"):
        ingested = ingest(data, tmp_path / "out", label={"column": "y", "expression": expression})
        assert _labels(ingested) == [None, 1, 0]


def test_ingest_nan_in_some_rows_of_parquet_is_missing(data: Path, tmp_path: Path) -> None:
    ingested = ingest(data, tmp_path / "out", label={"column": "y", "expression": "1"})
    assert ingested.column("ratio")[:3] == ingested.column("single")[:3] == [None, 0.5, 0.0]


def test_ingest_label_that_is_nan_everywhere_is_missing(data: Path, tmp_path: Path) -> None:
    ingested = ingest(data, tmp_path / "out", label={"column": "y", "expression": "sqrt(-1 - fare) > 1"})
    assert ingested.refusals() == ["The label is missing in all of 90 rows."]


def test_ingest_label_of_long_expression_is_quick(data: Path, tmp_path: Path) -> None:
    """What is asked of an expression grows with the square of its depth, not with its power."""
    expression = " + ".join(["tips / fare"] * 40) + " > 8"
    ingested = ingest(data, tmp_path / "out", label={"column": "y", "expression": expression})
    assert _labels(ingested) == [None, 1, 0]


def test_ingest_27_of_the_real_trips_cost_and_tip_nothing(tmp_path: Path) -> None:
    folder = os.environ.get("SLIPWAY_REAL_DATA")
    if not folder:
        pytest.skip("SLIPWAY_REAL_DATA is not set: the folder that holds chicago_taxi/trips.csv")
    label = {"column": "y", "expression": "tips / fare > 0.2", "training_only": ["tips"]}
    ingested = ingest(Path(folder) / "chicago_taxi/trips.csv", tmp_path / "out", label=label)
    labels = ingested.column("y")
    assert (ingested.rows.read, ingested.rows.unlabelled) == (14_169, 27)
    assert (len(labels), sum(labels)) == (14_142, 3_150)  # without the 27 of 3,177 that were NaN
