"""What a shared feature may be, what of it counts, and what is refused."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.source import read_source, write_source
from slipway.data.validation.leaks import find_leaks
from slipway.errors import ConfigError, DataError
from slipway.stores import storage
from tests.fakes.fault_proxy import FaultProxy
from tests.slipway.data.examples.ingesting import ingest
from tests.slipway.data.examples.joining import VIEW, ingest_joined, joined, write_view

HEADER = "id,y,driver,at\n"
FACTS = "driver,known,trips\na,2024-01-01T00:00:00Z,1\na,2024-01-02T00:00:00Z,2\nb,2024-01-01T00:00:00Z,10\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "facts.csv").write_text(FACTS)
    write_view(tmp_path, data="facts.csv")
    return tmp_path


def _trips(project: Path, *rows: str, **ingestion: Any) -> list[Any]:
    """The `trips` of rows `driver,at`."""
    lines = (f"{number},{number % 2},{row}\n" for number, row in enumerate(rows))
    (project / "rows.csv").write_text(HEADER + "".join(lines))
    return ingest_joined(project, "rows.csv", **ingestion).column("trips")


@pytest.mark.parametrize(
    ("at", "trips"),
    [
        ("2023-12-31T23:59:59.999999Z", None),
        ("2024-01-01T00:00:00Z", 1),  # known at exactly that time
        ("2024-01-01T23:59:59.999999Z", 1),
        ("2024-01-02T00:00:00", 2),  # without an offset it is UTC
        ("2024-01-02T01:00:00+02:00", 1),
        ("2024-01-01 18:00:00-06:00", 2),
        ("2024-01-02", 2),
        ("", None),
    ],
)
def test_join_counts_what_was_known_to_the_microsecond(project: Path, at: str, trips: Any) -> None:
    assert _trips(project, f"a,{at}") == [trips]


@pytest.mark.parametrize(("at", "trips"), [("2024-01-03T00:00:00Z", 2), ("2024-01-03T00:00:00.000001Z", None)])
def test_join_value_of_exactly_the_maximal_age_counts(project: Path, at: str, trips: Any) -> None:
    write_view(project, data="facts.csv", max_age="1d")
    assert _trips(project, f"a,{at}") == [trips]


def test_join_module_sets_another_maximal_age(project: Path) -> None:
    write_view(project, data="facts.csv", max_age="1d")
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-04\n1,1,a,2024-01-04T00:00:00.1\n")
    found = ingest_joined(project, "rows.csv", {"view": VIEW, "columns": ["trips"], "max_age": "2d"})
    assert found.column("trips") == [2, None]


def test_join_hour_that_a_clock_repeats_has_two_moments(project: Path) -> None:
    """On 27 October 2024 half past two came twice in Berlin."""
    (project / "facts.csv").write_text(
        "driver,known,trips\na,2024-10-27T02:00:00+02:00,1\na,2024-10-27T02:00:00+01:00,2\n"
    )
    assert _trips(project, "a,2024-10-27T02:30:00+02:00", "a,2024-10-27T02:30:00+01:00") == [1, 2]


@pytest.mark.parametrize("row", [",2024-01-05", "c,2024-01-05", "a,"])
def test_join_row_without_key_or_time_or_of_an_unknown_key_has_none(project: Path, row: str) -> None:
    assert _trips(project, row, "a,2024-01-05") == [None, 2]


@pytest.mark.parametrize(
    ("at", "ingestion"),
    [
        ("1704240000", {}),
        ("1704240000.5", {}),
        ("03/01/2024 00:00", {"event_time_format": "%d/%m/%Y %H:%M"}),
        ("20240103", {"event_time_format": "%Y%m%d"}),
        ("2024-01-03T00:00:00Z", {"times": "seconds"}),
    ],
)
def test_join_takes_times_as_data_hold_them(project: Path, at: str, ingestion: dict[str, Any]) -> None:
    assert _trips(project, f"a,{at}", **ingestion) == [2]


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.timestamp("ns"), pa.timestamp("us"), pa.timestamp("ms", tz="Asia/Tokyo")]
)
def test_join_takes_times_of_parquet(project: Path, kind: pa.DataType) -> None:
    at = pa.array([dt.datetime(2024, 1, 2)]).cast(kind)
    known = at.cast(pa.timestamp("us")) if kind == pa.date32() else at
    pq.write_table(pa.table({"id": [0], "y": [0], "driver": ["a"], "at": at}), project / "rows.parquet")
    pq.write_table(pa.table({"driver": ["a"], "known": known, "trips": [7]}), project / "facts.parquet")
    write_view(project)
    assert ingest_joined(project, "rows.parquet").column("trips") == [7]


@pytest.mark.parametrize(
    ("at", "said"),
    [("1704240000000", "milliseconds"), ("yesterday", "'yesterday'"), ("2024-13-01", "'2024-13-01'")],
)
def test_join_time_that_cannot_be_read_is_refused(project: Path, at: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"1 rows hold no time in 'at', ingestion\.event_time.*{said}"):
        _trips(project, "a,2024-01-05" if not at.isdecimal() else "a,1704240000", f"a,{at}")


@pytest.mark.parametrize(
    ("sql", "fix"),
    [
        ("SELECT driver, known::DATE AS known, trips FROM data", "INTERVAL 1 DAY"),
        ("SELECT driver, epoch(known)::BIGINT AS known, trips FROM data", "to_timestamp"),
        ("SELECT driver, known::VARCHAR AS known, trips FROM data", "AS TIMESTAMPTZ"),
    ],
)
def test_view_time_has_to_be_a_timestamp(project: Path, sql: str, fix: str) -> None:
    write_view(project, sql, data="facts.csv")
    with pytest.raises(DataError, match=rf"driver/daily\.sql: time, 'known', is .*{fix}"):
        _trips(project, "a,2024-01-05")


def test_view_with_two_rows_of_a_key_and_time_is_refused_by_name(project: Path) -> None:
    (project / "facts.csv").write_text(f"{FACTS}a,2024-01-02T01:00:00+01:00,3\n")
    with pytest.raises(DataError, match=r"1 times rows.*driver = a, known = 2024-01-02 00:00:00 \(2 rows\)"):
        _trips(project, "a,2024-01-05")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT driver, known, trips FROM data; DROP VIEW data", "holds 2 statements"),
        ("COPY data TO '{folder}/stolen.csv'", "no SELECT"),
        ("SELECT driver, known, trips FROM data); COPY data TO '{folder}/stolen.csv'; SELECT * FROM (SELECT 1", "rror"),
        ("SELECT driver, known, (SELECT content FROM read_text('{folder}/secret')) AS trips FROM data", "Permission"),
        ("SELECT driver, known, trips FROM '{folder}/secret.csv'", "Permission"),
        ("SELECT driver, known, trips FROM read_csv('https://127.0.0.1:1/x.csv')", "rror"),
        ("SELECT driver, known, count(*) AS trips FROM data, glob('/etc/*') GROUP BY ALL", "Permission"),
        ("SELECT driver, now() AS known, trips FROM data", "now, which answers otherwise"),
        ("SELECT driver, current_timestamp AS known, trips FROM data", "current_timestamp"),
        ("SELECT driver, known, random() AS trips FROM data", "random"),
        ("SELECT driver, known, trips FROM data USING SAMPLE 2", "USING SAMPLE"),
        ("SELECT driver, known FROM data", "names 'trips'"),
        ("SELECT driver AS drivr, known, trips FROM data", "did you mean drivr"),
        ("SELECT driver, known, trips FROM dat", "dat"),
        ("SELECT driver, known, {{'a': trips}} AS trips FROM data", "STRUCT"),
    ],
)
def test_view_reads_its_data_and_nothing_else(project: Path, sql: str, said: str) -> None:
    (project / "secret").write_text("secret")
    (project / "secret.csv").write_text(FACTS)
    write_view(project, sql.format(folder=project), data="facts.csv")
    with pytest.raises(DataError, match=said):
        _trips(project, "a,2024-01-05")
    assert not (project / "stolen.csv").exists()


def test_view_with_a_row_that_cannot_be_read_is_refused_with_its_line(project: Path) -> None:
    (project / "facts.csv").write_text(f"{FACTS}a,2024-01-03T00:00:00Z\n")
    with pytest.raises(DataError, match=r"facts\.csv:5: 2 fields"):
        _trips(project, "a,2024-01-05")


def test_join_key_of_another_type_is_refused(project: Path) -> None:
    write_view(project, "SELECT length(driver) AS driver, known, trips FROM data", data="facts.csv")
    (project / "facts.csv").write_text("driver,known,trips\na,2024-01-01T00:00:00Z,1\n")
    with pytest.raises(DataError, match="key 'driver', which is BIGINT, to 'driver' of the rows, which is VARCHAR"):
        _trips(project, "a,2024-01-05")


def test_join_number_is_the_same_key_with_and_without_a_point(project: Path) -> None:
    (project / "facts.csv").write_text("driver,known,trips\n7,2024-01-01T00:00:00Z,1\n8,2024-01-01T00:00:00Z,2\n")
    assert _trips(project, "7.0,2024-01-05", "8.5,2024-01-05", "8.0,2024-01-05") == [1, None, 2]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id,y,driver,at,trips\n0,0,a,2024-01-05,3\n", "brings a column 'trips'"),
        ("id,y,driver,at,TRIPS\n0,0,a,2024-01-05,3\n", "brings a column 'trips'"),
        ("id,y,drivr,at\n0,0,a,2024-01-05\n", "key 'driver'.*did you mean drivr"),
        ("id,y,driver,att\n0,0,a,2024-01-05\n", r"as of 'at', ingestion\.event_time.*did you mean att"),
    ],
)
def test_join_rows_that_do_not_fit_are_refused(project: Path, header: str, said: str) -> None:
    (project / "rows.csv").write_text(header)
    with pytest.raises(DataError, match=said):
        ingest_joined(project, "rows.csv")


def test_join_one_view_twice_by_two_keys(project: Path) -> None:
    (project / "rows.csv").write_text("id,y,driver,other,at\n0,0,a,b,2024-01-05\n1,1,b,a,2024-01-05\n")
    twice: list[dict[str, Any]] = [
        {"view": VIEW, "columns": ["trips"]},
        {"view": VIEW, "columns": ["trips"], "on": {"driver": "other"}, "prefix": "other_"},
    ]
    found = ingest_joined(project, "rows.csv", *twice)
    assert (found.column("trips"), found.column("other_trips")) == ([2, 10], [10, 2])
    assert list(found.manifest.columns) == ["id", "driver", "other", "at", "trips", "other_trips", "y"]


def test_join_hostile_names_are_names(project: Path) -> None:
    name = "x\"; DROP TABLE data; --'"
    quoted = name.replace('"', '""')
    write_view(project, f'SELECT driver, known, trips AS "{quoted}" FROM data', data="facts.csv")
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-05\n")
    assert ingest_joined(project, "rows.csv", {"view": VIEW, "columns": [name]}).column(name) == [2]


def test_join_moves_no_row_to_another_split(project: Path) -> None:
    rows = [f"{'ab'[number % 2]},2024-01-{1 + number % 20:02d}" for number in range(200)]
    _trips(project, *rows)
    before = ingest_joined(project, "rows.csv").table("eval")["id"].to_pylist()
    (project / "facts.csv").write_text(FACTS.replace(",10\n", ",11\n"))
    assert ingest_joined(project, "rows.csv").table("eval")["id"].to_pylist() == before
    assert len(before) not in (0, 200)


def test_source_follows_the_features_sql_and_data_and_not_their_words(project: Path) -> None:
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-05\n")
    first = joined(project, "rows.csv")
    write_view(project, data="facts.csv", description="other words", owner="bob")
    assert joined(project, "rows.csv") == first
    write_view(project, "SELECT driver, known, 2 * trips AS trips FROM data", data="facts.csv")
    second = joined(project, "rows.csv")
    (project / "facts.csv").write_text(FACTS.replace("a,", "c,"))
    third = joined(project, "rows.csv")
    assert len({first.digest, second.digest, third.digest}) == 3
    assert read_source(write_source(third, str(project / "sources"))) == third


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"view": "driver/dayly", "columns": ["trips"]}, "did you mean driver/daily"),
        ({"view": VIEW, "columns": ["driver"]}, "is a key or the time"),
        ({"view": VIEW, "columns": ["trips"], "on": {"drivr": "driver"}}, "the keys of driver/daily are driver"),
    ],
)
def test_module_that_does_not_fit_the_view_is_refused(project: Path, asked: dict[str, Any], said: str) -> None:
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-05\n")
    with pytest.raises(ConfigError, match=said):
        joined(project, "rows.csv", asked)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"keys": "[]"}, "keys"),
        ({"keys": "[driver, known]"}, "named twice"),
        ({"max_age": "7 days"}, r"daily\.sql:6: max_age: '7 days' is no length of time"),
        ({"ttl": "7d"}, r"daily\.sql:6: unknown key 'ttl'"),
    ],
)
def test_view_header_is_checked_with_its_line(project: Path, header: dict[str, Any], said: str) -> None:
    write_view(project, data="facts.csv", **header)
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-05\n")
    with pytest.raises(ConfigError, match=said):
        joined(project, "rows.csv")


def test_view_without_a_select_is_refused(project: Path) -> None:
    write_view(project, "", data="facts.csv")
    with pytest.raises(ConfigError, match="no SELECT below"):
        _trips(project, "a,2024-01-05")


def test_feature_that_gives_the_label_away_is_told_as_a_leak(project: Path) -> None:
    write_view(project, "SELECT driver, known, trips % 2 AS trips FROM data", data="facts.csv")
    facts = "".join(f"{number},2024-01-01T00:00:00Z,{number % 2}\n" for number in range(400))
    (project / "facts.csv").write_text(f"driver,known,trips\n{facts}")
    _trips(project, *(f"{number},2024-01-05" for number in range(400)))
    assert [leak.columns for leak in find_leaks(project / "examples", "y", ["trips"])] == [("trips",)]


def test_join_of_a_split_by_time_takes_its_column(project: Path) -> None:
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-01\n1,1,a,2024-01-05\n")
    split = {"method": "time", "column": "at", "eval_from": "2024-01-03"}
    source = joined(project, "rows.csv", split=split, event_time=None)
    assert ingest(source, project / "examples", split=split).table("eval")["trips"].to_pylist() == [2]


@pytest.mark.parametrize(
    "data",
    ["facts.csv.gz", "link.csv", "../outside/facts.csv", "odd [1] 'x'.csv", "day=*/facts.csv"],
)
def test_view_data_may_lie_anywhere(project: Path, data: str) -> None:
    """Its database reads these files and no others."""
    text = FACTS.encode()
    name = {"day=*/facts.csv": "day=1/facts.csv", "link.csv": "facts.csv"}.get(data, data)
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    if data == "link.csv":
        (project / data).symlink_to(project / "facts.csv")
    write_view(project, data=json.dumps(data))
    assert _trips(project, "a,2024-01-05") == [2]


def test_view_of_all_spans(project: Path) -> None:
    for span, value in ((1, 5), (2, 6)):
        (project / str(span)).mkdir()
        (project / str(span) / "facts.csv").write_text(f"driver,known,trips\na,2024-01-0{span}T00:00:00Z,{value}\n")
    write_view(project, data="'{SPAN}/facts.csv'")
    assert _trips(project, "a,2024-01-01", "a,2024-01-02") == [5, 6]


def test_view_data_in_a_bucket(project: Path, fault_proxy: FaultProxy) -> None:
    storage.write_text(fault_proxy.uri("facts.csv"), FACTS)
    write_view(project, data=json.dumps(fault_proxy.uri("facts.csv")))
    assert _trips(project, "a,2024-01-05") == [2]


@pytest.mark.parametrize(("kind", "values"), [("FLOAT", [2.0, None]), ("BYTES", ["2", None]), ("INT", [2, None])])
def test_schema_decides_the_type_of_a_joined_column(project: Path, kind: str, values: list[Any]) -> None:
    (project / "rows.csv").write_text(f"{HEADER}0,0,a,2024-01-05\n1,1,c,2024-01-05\n")
    schema = f'feature {{ name: "trips" type: {kind} }}'
    assert ingest(joined(project, "rows.csv"), project / "examples", schema=schema).column("trips") == values


def test_pointer_of_dvc_is_refused_with_the_way_out(tmp_path: Path) -> None:
    write_view(tmp_path, data="facts.csv.dvc@v1")
    (tmp_path / "rows.csv").write_text("id,y,driver,at\n1,0,a,2024-01-01T00:00:00Z\n")
    with pytest.raises(DataError, match=r"driver/daily\.sql: .*facts\.csv\.dvc@v1.*data: snapshot:NAME"):
        joined(tmp_path, "rows.csv")
