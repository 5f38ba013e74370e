"""Rows of a person are deleted from a log, and no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from slipway.errors import ConfigError, StoreError
from slipway.stores import storage
from tests.cli.commands import slipway
from tests.request_windows import write_requests

DAY = datetime(2026, 11, 25, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"fare": 12.5, "customer": "ann"},
    {"fare": 8, "customer": "bob"},
    {"fare": 7.0, "customer": "ann", "trip": 4711},
    {"fare": 4711.0, "customer": None},
]


@pytest.fixture(params=["local", "google_storage", pytest.param("s3_server", marks=pytest.mark.slow)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Two days of one model, and a day of another; none of it can be seen by another path."""
    local = request.param == "local"
    uri = str(tmp_path / "requests") if local else request.getfixturevalue(request.param).uri("requests")
    for model, day in (("taxi", DAY), ("taxi", DAY.replace(day=26)), ("fares", DAY)):
        write_requests(uri, model, 1, day, ROWS, [0.5] * len(ROWS))
    return uri


def customers(log: str, tmp_path: Path) -> list[tuple[str, str | None]]:
    """Models and customers of all rows, read as the log's page says."""
    copy = tmp_path / "copy"
    for file in storage.list_files(log):
        storage.copy(file.uri, str(copy / file.name))
    query = (
        "SELECT model, list_filter(features, lambda f: f.name = 'customer')[1].strings[1] AS who "
        f"FROM read_parquet('{copy}/**/*.parquet', hive_partitioning = true, union_by_name = true) ORDER BY ALL"
    )
    with duckdb.connect() as database:
        found: list[tuple[str, str | None]] = database.execute(query).fetchall()
    return found


def test_request_log_delete_takes_a_persons_rows_from_all_files_and_no_others(log: str, tmp_path: Path) -> None:
    before = customers(log, tmp_path)
    would = slipway("request-log", "delete", "--key", "customer=ann", "--log", log, "--dry-run")
    assert would.output.splitlines()[-1].startswith("Would delete 6 rows of 3 files")
    assert customers(log, tmp_path) == before
    done = json.loads(slipway("request-log", "delete", "taxi", "--key", "customer=ann", "--log", log, "--json").stdout)
    assert (done["rows"], {(one["rows"], one["of"]) for one in done["files"]}) == (4, {(2, 4)})
    assert customers(log, tmp_path) == [one for one in before if one != ("taxi", "ann")]
    assert "Deleted 2 rows of 1 files" in slipway("request-log", "delete", "--key", "customer=ann", "--log", log).output
    assert customers(log, tmp_path) == [one for one in before if one[1] != "ann"]
    assert "Deleted 0 rows of 0 files" in slipway("request-log", "delete", "--key", "customer=ann", "--log", log).output


@pytest.mark.parametrize(
    ("keys", "rows"),
    [
        (["request_id=r-2026112500-1-1"], 2),
        (["trip=4711"], 3),
        (["fare=8.0"], 3),
        (["fare=8"], 3),
        (["customer=ann", "fare=12.5"], 3),
        (["customer=a' OR true --"], 0),
        (["nothing=ann"], 0),
    ],
)
def test_request_log_delete_finds_ids_numbers_and_several_keys(tmp_path: Path, keys: list[str], rows: int) -> None:
    log = str(tmp_path / "requests")
    for model, day in (("taxi", DAY), ("taxi", DAY.replace(day=26)), ("fares", DAY)):
        write_requests(log, model, 1, day, ROWS, [0.5] * len(ROWS))
    options = [part for key in keys for part in ("--key", key)]
    assert json.loads(slipway("request-log", "delete", *options, "--log", log, "--json").stdout)["rows"] == rows
    assert len(customers(log, tmp_path)) == 12 - rows


def test_request_log_delete_where_all_rows_go_leaves_a_file_that_readers_take(tmp_path: Path) -> None:
    log = str(tmp_path / "requests")
    write_requests(log, "taxi", 1, DAY, ROWS[:1], [0.5])
    slipway("request-log", "delete", "--key", "customer=ann", "--log", log)
    assert customers(log, tmp_path) == []
    assert [path for path in Path(log).rglob("*") if path.is_file() and path.suffix != ".parquet"] == []


def test_request_log_delete_that_cannot_know_or_has_no_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model=taxi").mkdir()
    (tmp_path / "model=taxi" / "a.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(StoreError, match=r"a\.parquet cannot be read, so nobody knows whose rows are in it"):
        slipway("request-log", "delete", "--key", "customer=ann", "--log", str(tmp_path))
    for log, model, there in ((tmp_path / "typo", (), "none"), (tmp_path, ("txi",), "taxi")):
        with pytest.raises(StoreError, match=f"there is no log of .*models: {there}"):
            slipway("request-log", "delete", *model, "--key", "customer=ann", "--log", str(log))
    with pytest.raises(ConfigError, match="by SQL"):
        slipway("request-log", "delete", "--key", "customer=ann", "--log", "bq://p.d.t")
    with pytest.raises(ConfigError, match="request_log in settings/"):
        slipway("request-log", "delete", "--key", "customer=ann")
    for keys in (["ann"], ["customer=ann", "customer=bob"]):
        options = [part for key in keys for part in ("--key", key)]
        wrong = slipway("request-log", "delete", *options, "--log", str(tmp_path))
        assert (wrong.exit_code, "NAME=VALUE" in wrong.output) == (2, True)
