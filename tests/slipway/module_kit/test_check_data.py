"""The columns that module.yaml names are compared with the headers of the data, before a step runs."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from slipway.data.examples.read import MOST_REMOTE_HEADERS
from slipway.errors import ModuleError
from slipway.module_api import ModuleConfig
from slipway.module_kit.check import check_data
from tests.fakes.storage_server import StorageServer
from tests.slipway.data.examples.row_files import WRITERS

ROWS = [
    {"day": "train", "colour": "red", "size": 1.5, "y": 1},
    {"day": "eval", "colour": "blue", "size": 2.5, "y": 0},
]
BY_DAY = {"method": "column", "column": "day"}


def config(**keys: Any) -> ModuleConfig:
    return ModuleConfig.model_validate({"contract": 1, "task": "binary", "label": {"column": "y"}, **keys})


@pytest.fixture(params=[".csv", ".csv.gz", ".parquet", ".avro"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file with the columns day, colour, size and y."""
    packed, path = request.param.endswith(".gz"), tmp_path / f"rows{request.param}"
    WRITERS[request.param.removesuffix(".gz")](path, ROWS)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    return str(path)


def judged(*columns: str) -> dict[str, Any]:
    return {"metric": "auc", "min": 0.5, "slice": columns}


def joining(column: str = "trips", event_time: str = "day", **more: Any) -> dict[str, Any]:
    """A module that joins a column of a shared feature."""
    view = {"view": "driver/daily", "columns": [column], "on": {"driver": "colour"}, **more}
    return {"features": [view], "ingestion": {"event_time": event_time}}


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"slices": [["color"]]}, ["slices", "'color'", "did you mean colour?", "day, colour, size, y"]),
        ({"thresholds": [judged("siz")]}, ["thresholds", "'siz'", "did you mean size?"]),
        ({"split": {**BY_DAY, "column": "dya"}}, ["split.column", "'dya'", "did you mean day?"]),
        ({"split": {"method": "time", "column": "when", "eval_from": 1}}, ["split.column", "'when'"]),
        ({"ingestion": {"ignore": ["sise"]}}, ["ingestion.ignore", "'sise'", "did you mean size?"]),
        ({"label": {"column": "z"}}, ["label.column", "'z'"]),
        ({"label": {"column": "y", "training_only": ["sizes"]}}, ["label.training_only", "'sizes'", "size?"]),
        ({"label": {"column": "z", "expression": "sise > 2"}}, ["label.expression", "'sise'", "did you mean size?"]),
        (
            {"label": {"column": "z", "expression": "size > 2"}, "ingestion": {"ignore": ["size"]}},
            ["label.expression", "'size'", "ingestion.ignore of module.yaml leaves it out"],
        ),
        ({"slices": [["color"]], "thresholds": [judged("siz", "y")]}, ["'color'", "'siz'"]),
        (joining(event_time="dya"), ["ingestion.event_time", "'dya'", "did you mean day?"]),
        (joining(on={"driver": "colur"}), ["features: on", "'colur'", "did you mean colour?"]),
        (joining("size"), ["driver/daily brings a column 'size'", "prefix"]),
    ],
)
def test_check_data_names_each_column_that_is_not_there(table: str, keys: dict[str, Any], facts: list[str]) -> None:
    with pytest.raises(ModuleError) as raised:
        check_data(config(**keys), table, "")
    assert [fact for fact in facts if fact not in str(raised.value)] == []


@pytest.mark.parametrize(
    "keys",
    [
        {"split": BY_DAY, "slices": [["colour"], ["y"]], "ingestion": {"ignore": ["size"]}},
        {"label": {"column": "z", "expression": "list_sum([x * SIZE for x in [1, 2]]) > 3 OR colour = 'red'"}},
        joining() | {"slices": [["trips"]], "label": {"column": "z", "expression": "size > trips"}},
        {"label": {"column": "z", "expression": "size >"}},  # the step that evaluates it says what is wrong
    ],
)
def test_check_data_that_fits_passes(table: str, keys: dict[str, Any]) -> None:
    check_data(config(**keys), table, "")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".avro"])
def test_check_data_fetches_headers_of_remote_files(
    suffix: str, storage_server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.data.examples.read.HEADER_BYTES", 1_000)
    rows = [{"colour": f"{number:x}", "size": float(number), "y": number % 2} for number in range(20_000)]
    path = tmp_path / f"rows{suffix}"
    WRITERS[suffix.removesuffix(".gz")](path, rows)
    content = path.read_bytes()
    storage_server.put(f"data/day=1/rows{suffix}", gzip.compress(content) if suffix.endswith(".gz") else content)
    uri = storage_server.uri("data/")
    check_data(config(slices=[["colour"], ["day"]]), uri, "")
    with pytest.raises(ModuleError, match=r"'color'.*did you mean colour\?.*colour, size, y, day"):
        check_data(config(slices=[["color"]]), uri, "")


def test_check_data_of_many_remote_files_is_left_to_the_steps(storage_server: StorageServer) -> None:
    for number in range(MOST_REMOTE_HEADERS + 1):
        storage_server.put(f"data/{number}.csv", b"a,y\n1,2\n")
    check_data(config(slices=[["color"]]), storage_server.uri("data/"), "")


UNREADABLE = [
    "nowhere.csv",
    "empty.csv",
    "rows.tfrecord",
    "gs://anonymous@b/rows.csv?scheme=http&endpoint_override=localhost:1&retry_limit_seconds=0.1",
    "bq://p.d.t",
]


@pytest.mark.parametrize("uri", UNREADABLE)
def test_check_data_whose_header_cannot_be_read_here_is_left_to_the_steps(tmp_path: Path, uri: str) -> None:
    (tmp_path / "rows.tfrecord").touch()
    (tmp_path / "empty.csv").touch()
    check_data(config(slices=[["color"]]), uri if "://" in uri else str(tmp_path / uri), "")


def test_check_data_takes_the_columns_of_folders_and_of_all_files(tmp_path: Path) -> None:
    for day, header in (("1", "a,y"), ("2", "b,y")):
        (tmp_path / f"data/day={day}").mkdir(parents=True)
        (tmp_path / f"data/day={day}/rows.csv").write_text(f"{header}\n1,2\n")
    check_data(config(slices=[["day"], ["a"], ["b"]]), str(tmp_path / "data"), "")


@pytest.mark.parametrize("key", ["slices", "thresholds"])
def test_a_slice_of_the_column_that_the_split_takes_is_refused_without_data(key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key} names 'day', which is split\.column and no feature"):
        config(split=BY_DAY, **{key: [["day"]] if key == "slices" else [judged("day")]})
