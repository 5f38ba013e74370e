"""Parquet, Avro and TFRecord give the same examples as CSV, and damaged files a clear word."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.errors import DataError
from tests.slipway.data.examples.ingesting import Ingested, ingest
from tests.slipway.data.examples.row_files import WRITERS, example, frame, write_avro, write_parquet

ROWS: list[dict[str, Any]] = [
    {"id": n, "price": n / 4 if n % 5 else None, "name": f"name {n % 7}" if n % 3 else None, "y": n % 2}
    for n in range(300)
]


def _ingest_rows(folder: Path, extension: str, rows: list[dict[str, Any]], **options: Any) -> Ingested:
    path = folder / f"data{extension}"
    WRITERS[extension](path, rows)
    return ingest(path, folder / f"out{extension}", **options)


@pytest.mark.parametrize("extension", [".parquet", ".avro", ".tfrecord"])
def test_ingest_same_rows_in_another_format_give_the_same_splits(tmp_path: Path, extension: str) -> None:
    from_csv, other = _ingest_rows(tmp_path, ".csv", ROWS), _ingest_rows(tmp_path, extension, ROWS)
    columns = ["id", "price", "name", "y"]
    for split in ("train", "eval"):
        assert other.table(split).select(columns).equals(from_csv.table(split).select(columns))
    assert set(other.manifest.columns) == set(columns)
    assert other.rows == from_csv.rows


def test_ingest_gzipped_tfrecord_shards_are_read_in_order(tmp_path: Path) -> None:
    for shard in range(2):
        part = [row for row in ROWS if row["id"] % 2 == shard]
        content = b"".join(map(frame, map(example, part)))
        (tmp_path / f"data.tfrecord-{shard:05d}-of-00002.gz").write_bytes(gzip.compress(content))
    assert ingest(tmp_path, tmp_path / "out").column("id") == list(range(300))


def test_ingest_tfrecord_lists_and_bytes_keep_their_shape(tmp_path: Path) -> None:
    rows = [
        {"id": n, "y": 1, "tags": ["a"] * (n % 3) or None, "pixels": b"\xff" * (n + 1), "late": n if n > 250 else None}
        for n in range(300)
    ]
    ingested = _ingest_rows(tmp_path, ".tfrecord", rows)
    kinds = ingested.manifest.columns
    assert kinds["tags"].startswith("list<")
    assert (kinds["pixels"], kinds["late"]) == ("binary", "int64")
    assert ingested.column("tags")[4:6] == [["a"], ["a", "a"]]
    assert ingested.column("pixels")[2] == b"\xff\xff\xff"
    assert ingested.column("late")[250:252] == [None, 251]


def test_ingest_damaged_tfrecord_is_quarantined_and_the_rest_read(tmp_path: Path) -> None:
    records = [frame(example(row)) for row in ROWS]
    records[10] = records[10][:-6] + b"\0" + records[10][-5:]
    records[20] = frame(b"\xff no example")
    (tmp_path / "data.tfrecord").write_bytes(b"".join(records) + records[0][:20])
    ingested = ingest(tmp_path / "data.tfrecord", tmp_path / "out")
    bad = {row["line"]: row["reason"] for row in ingested.quarantine()}
    assert set(bad) == {11, 21, 301}
    assert bad[11] == "its content is damaged (CRC-32C)"
    assert bad[21].startswith("not a tf.Example")
    assert bad[301] == "the file ends in this record"
    assert (ingested.rows.read, ingested.rows.quarantined) == (301, 3)


def test_ingest_tfrecord_with_a_damaged_length_fails(tmp_path: Path) -> None:
    content = b"".join(frame(example(row)) for row in ROWS)
    (tmp_path / "data.tfrecord").write_bytes(b"\x01" + content[1:])
    with pytest.raises(DataError, match=r"data\.tfrecord: record 1: its length is damaged"):
        ingest(tmp_path / "data.tfrecord", tmp_path / "out")


def test_ingest_parquet_types_are_brought_to_those_of_examples(tmp_path: Path) -> None:
    moment = dt.datetime(2015, 3, 1, 12, tzinfo=dt.UTC)
    table = pa.table({
        "id": pa.array(range(60), pa.uint8()), "y": [True, False] * 30, "small": pa.array([0.5] * 60, pa.float32()),
        "money": [Decimal("1.25")] * 60, "at": [moment] * 60, "day": [moment.date()] * 60, "nan": [float("nan")] * 60,
        "empty": [""] * 60, "kind": pa.array(["a"] * 60).dictionary_encode(), "none": pa.nulls(60),
        "list": pa.array([[1, 2]] * 60, pa.list_(pa.int32())), "raw": [b"\xff"] * 60,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "data.parquet")
    ingested = ingest(tmp_path / "data.parquet", tmp_path / "out")
    first = ingested.table().to_pylist()[0]
    assert first == {
        "id": 0, "y": 1, "small": 0.5, "money": 1.25, "at": int(moment.timestamp()), "day": 1425168000, "nan": None,
        "empty": None, "kind": "a", "none": None, "list": [1, 2], "raw": b"\xff",
    }  # fmt: skip


def test_ingest_parquet_struct_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [1], "s": [{"a": 1}]}), tmp_path / "data.parquet")
    with pytest.raises(DataError, match=r"column 's' is STRUCT.*which examples cannot hold"):
        ingest(tmp_path / "data.parquet", tmp_path / "out")


def test_ingest_parquet_value_against_the_schema_has_its_row_number(tmp_path: Path) -> None:
    rows = [{"id": n, "code": "x" if n == 77 else str(n), "half": 0.5 if n == 99 else 1.0, "y": 1} for n in range(300)]
    schema = 'feature { name: "code" type: INT } feature { name: "half" type: INT } feature { name: "y" type: FLOAT }'
    ingested = _ingest_rows(tmp_path, ".parquet", rows, schema=schema)
    assert [(bad["line"], bad["reason"], bad["raw"]) for bad in ingested.quarantine()] == [
        (78, "code: 'x' is not a whole number", "77,x,1.0,1"),
        (100, "half: '0.5' is not a whole number", "99,99,0.5,1"),
    ]
    assert [ingested.manifest.columns[name] for name in ("code", "half", "y")] == ["int64", "int64", "double"]


def test_ingest_parquet_files_with_other_columns_meet_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", ROWS[:100])
    write_parquet(tmp_path / "2.parquet", [{"y": 1, "id": row["id"], "new": "n"} for row in ROWS[100:]])
    ingested = ingest(tmp_path, tmp_path / "out")
    assert ingested.column("id") == list(range(300))
    assert ingested.column("new") == [None] * 100 + ["n"] * 200


@pytest.mark.parametrize("content", [b"", b"PAR1 this is not the whole of it"])
def test_ingest_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.parquet").write_bytes(content)
    with pytest.raises(DataError, match=rf"data\.parquet: not a whole Parquet file \({len(content)} bytes\)"):
        ingest(tmp_path / "data.parquet", tmp_path / "out")


def test_ingest_avro_logical_types(tmp_path: Path) -> None:
    fields = [
        {"name": "y", "type": "boolean"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "money", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["A", "B"]}},
        {"name": "list", "type": {"type": "array", "items": "int"}},
    ]
    moment = dt.datetime(2015, 3, 1, 12, tzinfo=dt.UTC)
    values = {"at": moment, "day": moment.date(), "money": Decimal("1.25"), "kind": "B", "list": [1, 2]}
    rows = [{"y": n % 2 == 0, **values, "list": [n]} for n in range(60)]
    with (tmp_path / "data.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema({"type": "record", "name": "row", "fields": fields}), rows)
    ingested = ingest(tmp_path / "data.avro", tmp_path / "out")
    row = next(row for row in ingested.table().to_pylist() if row["list"] == [4])
    assert row == {"y": 1, "at": 1425211200, "day": 1425168000, "money": 1.25, "kind": "B", "list": [4]}


@pytest.mark.parametrize("length", [0, 10, -7])
def test_ingest_cut_avro_fails(tmp_path: Path, length: int) -> None:
    write_avro(tmp_path / "data.avro", ROWS)
    (tmp_path / "data.avro").write_bytes((tmp_path / "data.avro").read_bytes()[:length])
    with pytest.raises(DataError, match=r"data\.avro: (not an Avro file|damaged or cut)"):
        ingest(tmp_path / "data.avro", tmp_path / "out")


def test_ingest_avro_named_and_logical_types_are_read_as_the_specification_says(tmp_path: Path) -> None:
    colour = {"type": "enum", "name": "Colour", "namespace": "a.b", "symbols": ["R", "G"]}
    uuid = {"type": "string", "logicalType": "uuid"}
    day = {"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}
    kinds = {
        "first": colour, "again": ["null", "a.b.Colour"], "key": uuid, "keys": {"type": "array", "items": uuid},
        "odd": {"type": "string", "logicalType": "country"}, "at": {"type": "int", "logicalType": "time-millis"},
        "nano": {"type": "long", "logicalType": "timestamp-nanos"}, "either": ["int", "double"], "days": day,
        "parts": {"type": "map", "values": "int"}, "y": "int",
    }  # fmt: skip
    key, moment = UUID("86abb712-79b4-82c7-45fa-7f1e0876f218"), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    rows = [
        {"first": "R", "again": "G" if n % 2 else None, "key": key, "keys": [key], "odd": str(n), "at": dt.time(8),
         "nano": 10**18 + n, "either": n if n % 2 else n / 4, "days": [moment], "parts": {"a": 1}, "y": n % 2}
        for n in range(60)
    ]  # fmt: skip
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    with (tmp_path / "t.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema({"type": "record", "name": "row", "fields": fields}), rows)
    with pytest.raises(DataError, match=r"'parts' is .*map.*ignore: \['parts'\]"):
        ingest(tmp_path / "t.avro", tmp_path / "out")
    found = ingest(tmp_path / "t.avro", tmp_path / "out", ignore=["parts"])
    expected = {"first": "R", "key": str(key), "keys": [str(key)], "at": 8 * 3600, "nano": 10**9, "days": [1704067200]}
    assert {name: found.column(name)[0] for name in expected} == expected
    assert set(found.column("again")) == {None, "G"}
    assert found.manifest.columns["either"] == "double"


def test_ingest_parquet_lists_of_times_and_of_unsigned_numbers(tmp_path: Path) -> None:
    moment = dt.datetime(2024, 1, 1)
    lists = {
        "us": pa.array([[moment, None]] * 60, pa.list_(pa.timestamp("us"))),
        "ns": pa.array([[moment, None]] * 60, pa.list_(pa.timestamp("ns", tz="UTC"))),
        "day": pa.array([[moment.date(), None]] * 60), "hash": pa.array([[2**64 - 1]] * 60, pa.list_(pa.uint64())),
    }  # fmt: skip
    pq.write_table(pa.table({"id": range(60), "y": [0, 1] * 30} | lists), tmp_path / "t.parquet")
    found = ingest(tmp_path / "t.parquet", tmp_path / "out")
    assert [found.column(name)[0] for name in ("us", "ns", "day")] == [[1704067200, None]] * 3
    assert found.column("hash")[0] == [str(2**64 - 1)]


def test_ingest_parquet_columns_called_like_the_readers_own(tmp_path: Path) -> None:
    own = {"file_row_number": range(60), "filename": ["f"] * 60, "y": [0, 1] * 30}
    pq.write_table(pa.table(own), tmp_path / "t.parquet")
    assert sorted(ingest(tmp_path / "t.parquet", tmp_path / "out").column("file_row_number")) == list(range(60))
    pq.write_table(pa.table(own | {"__slipway_line": range(60)}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'__slipway_line' is reserved"):
        ingest(tmp_path / "t.parquet", tmp_path / "out")


@pytest.mark.parametrize("extension", list(WRITERS))
def test_ingest_marks_of_missing_values_are_null_in_every_format(tmp_path: Path, extension: str) -> None:
    rows = [row | {"price": -1.0 if row["id"] % 5 else 2.5, "name": "?" if row["id"] % 2 else "x"} for row in ROWS]
    found = _ingest_rows(tmp_path, extension, rows, missing_values=["?", "-1"])
    assert (set(found.column("price")), set(found.column("name"))) == ({None, 2.5}, {None, "x"})


def test_ingest_csv_with_its_own_marks_is_read_whole_and_line_by_line(tmp_path: Path) -> None:
    lines = [f'{n};{n % 9 + 1}.000,25;"a;{n}";{n % 2}' for n in range(200)]
    marks: dict[str, Any] = {"delimiter": ";", "decimal": ",", "thousands": "."}
    for bad in ([], ["200;1;2"]):
        (tmp_path / "t.csv").write_text("\n".join(["id;x;k;y", *lines, *bad]) + "\n")
        found = ingest(tmp_path / "t.csv", tmp_path / "out", **marks)
        assert (found.column("x")[1], found.column("k")[1], found.rows.quarantined) == (2000.25, "a;1", len(bad))
