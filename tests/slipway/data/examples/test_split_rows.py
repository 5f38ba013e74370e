"""Which rows are for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.split_rows import hash_rows
from slipway.errors import ConfigError, DataError
from slipway.runs.record import Rows
from tests.slipway.data.examples.ingesting import Ingested, ingest, numbered
from tests.slipway.data.examples.row_files import WRITERS


def _batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def test_hash_rows_known_row_never_changes() -> None:
    """A new release must not move rows from one split to the other."""
    rows = _batch(a=pa.array([1, None]), b=pa.array([0.5, None]), c=pa.array(["x", None]), d=pa.array([[1, 2], None]))
    assert hash_rows(rows, ["a", "b", "c", "d"]).tolist() == [9846695825606781010, 14839346499569548291]


def test_hash_rows_number_hashes_by_value_not_by_type() -> None:
    whole, double = _batch(a=pa.array([0, 3, -7])), _batch(a=pa.array([-0.0, 3.0, -7.0]))
    assert hash_rows(whole, ["a"]).tolist() == hash_rows(double, ["a"]).tolist()


def test_hash_rows_order_of_columns_does_not_matter_but_their_names_do() -> None:
    rows = _batch(a=pa.array([1, 2]), b=pa.array([2, 1]))
    assert hash_rows(rows, ["a", "b"]).tolist() == hash_rows(rows, ["b", "a"]).tolist()
    assert hash_rows(rows, ["a", "b"])[0] != hash_rows(rows, ["a", "b"])[1]


def test_hash_rows_slice_and_missing_values_hash_alike() -> None:
    rows = _batch(a=pa.array([5, None, 7]), b=pa.array([None, "x", "y"]))
    assert hash_rows(rows.slice(1), ["a", "b"]).tolist() == hash_rows(rows, ["a", "b"]).tolist()[1:]


def test_ingest_hash_split_has_about_the_share_asked_for(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(numbered(9000), encoding="utf-8")
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out", split={"method": "hash", "train": 4, "eval": 1})
    assert ingested.rows.train == pytest.approx(7200, rel=0.02)
    assert ingested.rows.train + ingested.rows.eval == 9000


def _by(folder: Path, split: dict[str, Any], header: str, line: str) -> Ingested:
    (folder / "data.csv").write_text(numbered(100, header=header, line=line), encoding="utf-8")
    return ingest(folder / "data.csv", folder / "out", split=split)


def test_ingest_column_split_leaves_other_values_and_the_column_out(tmp_path: Path) -> None:
    rows = "".join(f"{n},{('train', 'eval', 'test', '')[n % 4]},1\n" for n in range(100))
    (tmp_path / "data.csv").write_text("id,part,y\n" + rows, encoding="utf-8")
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out", split={"method": "column", "column": "part"})
    assert ingested.table("train").column("id").to_pylist() == list(range(0, 100, 4))
    assert ingested.table("eval").column("id").to_pylist() == list(range(1, 100, 4))
    assert ingested.rows.left_out == 50
    assert list(ingested.manifest.columns) == ["id", "y"]


def test_ingest_column_split_by_numbers(tmp_path: Path) -> None:
    split = {"method": "column", "column": "fold", "train": ["0", "1"], "eval": ["2"]}
    rows = "".join(f"{n},{n % 4},1\n" for n in range(100))
    (tmp_path / "data.csv").write_text("id,fold,y\n" + rows, encoding="utf-8")
    counts = ingest(tmp_path / "data.csv", tmp_path / "out", split=split).rows
    assert (counts.train, counts.eval, counts.left_out) == (50, 25, 25)


def test_ingest_missing_split_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split\.column of module\.yaml is 'when'"):
        _by(tmp_path, {"method": "time", "column": "when", "eval_from": 7}, "id,at,y", "{0},{0},1")


def test_ingest_empty_split_has_a_file_that_tells_its_columns(tmp_path: Path) -> None:
    ingested = _by(tmp_path, {"method": "time", "column": "at", "eval_from": 1000}, "id,at,y", "{0},{0},1")
    assert (ingested.rows.train, ingested.rows.eval) == (100, 0)
    assert ingested.table("eval").schema == ingested.table("train").schema


def test_ingest_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'' if n % 10 == 0 else n % 2}\n" for n in range(100))
    (tmp_path / "data.csv").write_text("id,y\n" + rows, encoding="utf-8")
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out")
    assert (ingested.rows.unlabelled, ingested.rows.left_out, ingested.rows.quarantined) == (10, 10, 0)
    assert ingested.column("id") == [n for n in range(100) if n % 10]


def test_ingest_no_label_at_all_is_an_anomaly(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,y\n" + "".join(f"{n},\n" for n in range(50)), encoding="utf-8")
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out")
    assert ingested.rows.unlabelled == 50
    assert ingested.refusals() == ["The label is missing in all of 50 rows."]


@pytest.mark.parametrize(
    ("expression", "kind", "values"),
    [("x > 1", "int64", [0, 0, 1]), ("x * 2", "int64", [0, 2, 4]), ("x / 4", "double", [0.0, 0.25, 0.5]),
     ("CASE WHEN x > 0 THEN 'b' ELSE 'a' END", "string", ["a", "b", "b"]), ("nullif(x, 0)", "int64", [1, 2])],
)  # fmt: skip
def test_ingest_label_expression_gives_a_column(tmp_path: Path, expression: str, kind: str, values: list[Any]) -> None:
    rows = "".join(f"{n},{n % 3}\n" for n in range(90))
    (tmp_path / "data.csv").write_text("id,x\n" + rows, encoding="utf-8")
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out", label={"column": "y", "expression": expression})
    assert ingested.manifest.columns == {"id": "int64", "x": "int64", "y": kind}
    assert ingested.column("y")[: len(values)] == values


def test_ingest_label_expression_may_replace_its_column(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(numbered(60, line="{0},{0},3"), encoding="utf-8")
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out", label={"column": "y", "expression": "y + x"})
    assert ingested.column("y") == [n + 3 for n in range(60)]


def test_ingest_text_label_of_a_regression_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(numbered(60, line="{0},{0},high"), encoding="utf-8")
    with pytest.raises(ConfigError, match="label 'y' is VARCHAR; regression needs a number"):
        ingest(tmp_path / "data.csv", tmp_path / "out", task="regression")


@pytest.mark.parametrize(
    ("values", "train", "evaluation"),
    [("TRUE,False", ["false"], ["true"]), ("true,false", [False], [True]), ("true,false", ["0"], ["1"]),
     ("1.0,2.5", ["2.5"], ["1.0"]), ("1.0,2.5", [2.5], ["1"]), ("1,2", [2.0], ["1.0"]), ("01,2", ["2"], ["01"]),
     ("2024-01-01,2024-01-02", ["2024-01-02"], ["2024-01-01"])],
)  # fmt: skip
def test_column_split_takes_values_as_the_data_spells_them(
    tmp_path: Path, values: str, train: list[Any], evaluation: list[Any]
) -> None:
    (tmp_path / "data.csv").write_text(numbered(100, header="id,fold,y", line="{0},,1"))
    text = (tmp_path / "data.csv").read_text().splitlines()
    first, second = values.split(",")
    rows = [line.replace(",,", f",{second if number % 4 else first},") for number, line in enumerate(text[1:])]
    (tmp_path / "data.csv").write_text("\n".join([text[0], *rows]) + "\n")
    split = {"method": "column", "column": "fold", "train": train, "eval": evaluation}
    rows_of = ingest(tmp_path / "data.csv", tmp_path / "out", split=split, times="seconds").rows
    assert (rows_of.train, rows_of.eval) == (75, 25)


@pytest.mark.parametrize("extension", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("values", "train", "evaluation"),
    [([False, True], [False], ["true"]), ([1.0, 0.0], [1.0], ["0"]), ([1.0, 0.0], ["1"], [0.0]), ([1, 0], [1.0], [0])],
)
def test_column_split_takes_the_same_values_in_every_format(
    tmp_path: Path, extension: str, values: list[Any], train: list[Any], evaluation: list[Any]
) -> None:
    rows = [{"id": number, "fold": values[number % 2], "y": 1} for number in range(20)]
    WRITERS[extension](tmp_path / f"data{extension}", rows)
    split = {"method": "column", "column": "fold", "train": train, "eval": evaluation}
    rows_of = ingest(tmp_path / f"data{extension}", tmp_path / "out", split=split).rows
    assert (rows_of.train, rows_of.eval) == (10, 10)


def test_column_split_without_rows_lists_the_values_of_the_column(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(numbered(60, header="id,fold,y", line="{0},a,1"))
    ingested = ingest(tmp_path / "data.csv", tmp_path / "out", split={"method": "column", "column": "fold"})
    assert ingested.manifest.split_values == {"a": 60}


def _orders(folder: Path, extra: str = "", customers: int = 60) -> Path:
    """Ten orders of each customer, then three without one; `extra` is the name of a further column."""
    rows = [f"{n},c{n % customers},{n % 7}.5,{n % 2}" for n in range(10 * customers)]
    rows += [f"{10 * customers + n},,1.5,1" for n in range(3)]
    (folder / "data.csv").write_text(
        "\n".join([f"id,customer,x,y{extra and ',' + extra}", *(row + (",9" if extra else "") for row in rows)]),
        encoding="utf-8",
    )
    return folder / "data.csv"


def test_ingest_group_split_keeps_a_customer_on_one_side(tmp_path: Path) -> None:
    split = {"method": "group", "column": "customer", "train": 3, "eval": 1}
    ingested = ingest(_orders(tmp_path), tmp_path / "out", split=split)
    sides = [set(ingested.table(name).column("customer").to_pylist()) for name in ("train", "eval")]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 60
    assert len(sides[0]) == pytest.approx(45, abs=8)
    assert (ingested.rows.left_out, ingested.rows.ungrouped, ingested.rows.unlabelled) == (3, 3, 0)
    assert Rows.model_validate(ingested.rows, from_attributes=True).unused == "0 quarantined, 3 without a group"


@pytest.mark.parametrize("missing", [[None, None], [float("nan"), None], ["", None], [b"", None]])
def test_ingest_group_that_is_missing_in_all_rows_is_an_anomaly(tmp_path: Path, missing: list[Any]) -> None:
    table = pa.table({"y": [0, 1], "customer": pa.array(missing, pa.string() if missing == [None, None] else None)})
    pq.write_table(table, tmp_path / "data.parquet")
    split = {"method": "group", "column": "customer"}
    ingested = ingest(tmp_path / "data.parquet", tmp_path / "out", split=split)
    assert ingested.rows.ungrouped == 2
    assert "2 rows" in ingested.refusals()[0]


def test_ingest_hash_of_named_columns_does_not_move_rows(tmp_path: Path) -> None:
    split = {"method": "hash", "columns": ["id"]}
    plain = ingest(_orders(tmp_path), tmp_path / "one", split=split).table("eval").column("id").to_pylist()
    wider = ingest(_orders(tmp_path, "z"), tmp_path / "two", split=split).table("eval").column("id").to_pylist()
    narrow = ingest(_orders(tmp_path), tmp_path / "three", split=split, ignore=("x",)).table("eval")
    assert plain == wider == narrow.column("id").to_pylist()
    assert plain != ingest(_orders(tmp_path, "z"), tmp_path / "four").table("eval").column("id").to_pylist()


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"method": "group", "column": "custmer"}, r"split.column .* 'custmer'.*did you mean customer"),
        ({"method": "hash", "columns": ["id", "idd"]}, r"split.columns .* 'idd'.*did you mean id"),
    ],
)
def test_ingest_split_columns_that_are_not_there_are_named(tmp_path: Path, split: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ingest(_orders(tmp_path), tmp_path / "out", split=split)


def test_ingest_group_of_lists_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [0, 1], "customer": [["a"], ["b", "c"]]}), tmp_path / "data.parquet")
    with pytest.raises(ConfigError, match=r"'customer'.*one value a row"):
        ingest(tmp_path / "data.parquet", tmp_path / "out", split={"method": "group", "column": "customer"})


def test_ingest_weight_that_is_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"label.weight .* 'customer'.* VARCHAR"):
        ingest(_orders(tmp_path), tmp_path / "out", label={"column": "y", "weight": "customer"})
