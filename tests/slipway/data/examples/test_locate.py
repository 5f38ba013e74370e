"""Finding the files behind a data URI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway.data.examples.source import locate, parts_of
from slipway.errors import DataError
from tests.fakes.storage_server import StorageServer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "one.csv", "two.csv.gz", "notes.txt", "spans/9/a.csv", "spans/10/a.csv", "spans/10/b.csv", "spans/x/a.csv",
        "spans/_tmp/a.csv", "day-1/part-1.parquet", "day-2/part-2.parquet", "day-2/_SUCCESS", "day-2/.hidden.parquet",
        "empty/notes.txt", "mixed/a.csv", "mixed/b.avro", "a,b.csv",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def _names(tree: Path, uri: str, window: int = 1) -> list[str]:
    return [os.path.relpath(file.uri, tree) for file in locate(str(tree / uri), window).files]


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("one.csv", ["one.csv"]),
        ("a,b.csv", ["a,b.csv"]),
        ("spans/9/*.csv", ["spans/9/a.csv"]),
        ("spans/1?/[ab].csv", ["spans/10/a.csv", "spans/10/b.csv"]),
        ("day-2", ["day-2/part-2.parquet"]),
        ("day-*/*", ["day-1/part-1.parquet", "day-2/part-2.parquet"]),
        ("spans/**/b.csv", ["spans/10/b.csv"]),
        ("spans/{SPAN}/*.csv", ["spans/10/a.csv", "spans/10/b.csv"]),
        ("spans/{SPAN}", ["spans/10/a.csv", "spans/10/b.csv"]),
        ("day-{SPAN}/part-{SPAN}.parquet", ["day-2/part-2.parquet"]),
    ],
)
def test_locate_finds_files(tree: Path, uri: str, names: list[str]) -> None:
    assert _names(tree, uri) == names


def test_locate_comma_separated_keeps_the_order_given(tree: Path) -> None:
    source = locate(f"{tree}/two.csv.gz, {tree}/one.csv,{tree}/spans/9", 1)
    assert [Path(file.uri).name for file in source.files] == ["two.csv.gz", "one.csv", "a.csv"]
    assert source.format == "csv"


@pytest.mark.parametrize(("window", "spans"), [(1, [10]), (2, [9, 10]), (7, [9, 10])])
def test_locate_window_takes_the_newest_spans_by_number(tree: Path, window: int, spans: list[int]) -> None:
    assert locate(f"{tree}/spans/{{SPAN}}/*.csv", window).spans == spans
    assert len(_names(tree, "spans/{SPAN}/*.csv", window)) == len(spans) + 1


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("gone.csv", "there is no such file or directory"),
        ("gone-*.csv", "no file matches"),
        ("empty", "the directory holds no data file"),
        ("notes.txt", r"notes\.txt: its name .*\.avro"),
        ("mixed", "the files are of several formats"),
        ("{SPAN}/*.csv", "no data file .* matches with a number"),
        ("one.csv,gone.csv", "gone.csv: there is no such file"),
    ],
)
def test_locate_nothing_usable_says_why(tree: Path, uri: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        locate(uri if "," not in uri else f"{tree}/one.csv,{tree}/gone.csv", 1) if "," in uri else locate(
            f"{tree}/{uri}", 1
        )


def test_locate_relative_path_becomes_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert locate("one.csv", 1).files[0].uri == str(tree / "one.csv")


def test_locate_digest_follows_the_content_and_nothing_else(tree: Path) -> None:
    before = locate(f"{tree}/one.csv", 1)
    os.utime(tree / "one.csv", (1, 1))
    assert locate(f"{tree}/one.csv", 1) == before
    (tree / "copy.csv").write_text("one.csv")
    assert locate(f"{tree}/copy.csv", 1).digest == before.digest
    (tree / "one.csv").write_text("One.csv")
    assert locate(f"{tree}/one.csv", 1).digest != before.digest


def test_locate_digest_tells_two_files_from_one(tree: Path) -> None:
    (tree / "x.csv").write_text("ab")
    (tree / "p.csv").write_text("a")
    (tree / "q.csv").write_text("b")
    assert locate(f"{tree}/x.csv", 1).digest != locate(f"{tree}/p.csv,{tree}/q.csv", 1).digest


def test_locate_on_a_bucket(storage_server: StorageServer) -> None:
    for name in ("in/1/a.csv", "in/2/a.csv", "in/2/b.csv", "in/10/a.csv", "in/10/_SUCCESS"):
        storage_server.put(name, name.encode())
    storage_server.put("in/2/", b"")
    uri = storage_server.uri
    spans = locate(uri("in/{SPAN}/*.csv"), 2)
    assert (spans.spans, len(spans.files)) == ([2, 10], 3)
    assert [file.uri for file in locate(uri("in/2"), 1).files] == [uri("in/2/a.csv"), uri("in/2/b.csv")]
    assert len(locate(uri("in/*/a.csv"), 1).files) == 3
    one = locate(uri("in/1/a.csv"), 1)
    assert (one.files[0].size, one.format) == (10, "csv")
    storage_server.put("in/1/a.csv", b"other text")
    assert locate(uri("in/1/a.csv"), 1).digest != one.digest
    with pytest.raises(DataError, match="there is no such file"):
        locate(uri("in/3/a.csv"), 1)


@pytest.mark.parametrize("name", ["a.tfrecords", "data_tfrecord-00000-of-00001.gz", "x.tfrecords-00000-of-00002.gz"])
def test_locate_knows_the_names_of_tfrecords(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert locate(str(tmp_path / name), 1).format == "tfrecord"


@pytest.mark.parametrize(("name", "kind"), [("a.pq", "parquet"), ("a.csv-00000-of-00002", "csv")])
def test_locate_knows_other_names(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    assert locate(str(tmp_path), 1).format == kind


@pytest.mark.parametrize(
    ("given", "names"),
    [("a.csv, b.csv", ["a.csv", "b.csv"]), ("comma, 1.csv", ["comma, 1.csv"]),
     ("a.csv,comma, 1.csv , b.csv", ["a.csv", "comma, 1.csv", "b.csv"]), ("x,y/*.csv,a.csv", ["x,y/z.csv", "a.csv"]),
     (" blank.csv", [" blank.csv"])],
)  # fmt: skip
def test_parts_of_a_list_may_have_blanks_and_names_commas(tmp_path: Path, given: str, names: list[str]) -> None:
    (tmp_path / "x,y").mkdir()
    for name in ("a.csv", "b.csv", "comma, 1.csv", "x,y/z.csv", " blank.csv"):
        (tmp_path / name).touch()
    found = locate(",".join(parts_of(given, tmp_path)), 1)
    assert [file.uri for file in found.files] == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("gs://b/a.csv, gs://b/c.csv", ["gs://b/a.csv", "gs://b/c.csv"]),
        ("gs://b/folder,gs://b/c.csv", ["gs://b/folder", "gs://b/c.csv"]),
        ("gs://b/comma, 1.csv", ["gs://b/comma, 1.csv"]),
        ("gs://b/comma, 1.csv?scheme=http, gs://b/x,y/*.csv", ["gs://b/comma, 1.csv?scheme=http", "gs://b/x,y/*.csv"]),
        ("gs://b/a.csv,c.csv", ["gs://b/a.csv", "c.csv"]),  # which a run on a cluster refuses
        ("gs://b/folder/,c.csv", ["gs://b/folder/", "c.csv"]),
        ("gs://b/folder,other", ["gs://b/folder", "other"]),
        ("bq://p.d.t", ["bq://p.d.t"]),
    ],
)
def test_parts_of_remote_uris_end_before_a_scheme_or_where_they_are_whole(given: str, parts: list[str]) -> None:
    assert parts_of(given) == parts


def test_locate_on_a_bucket_reads_names_with_commas(storage_server: StorageServer) -> None:
    uri = storage_server.uri
    for name in ("comma, 1.csv", "x,y/a.csv", "b.csv"):
        storage_server.put(name, b"a\n1\n")
    given = [uri("comma, 1.csv"), uri("x,y/a.csv"), uri("b.csv")]
    assert [file.uri for file in locate(", ".join(given), 1).files] == given
