"""`slipway data`, and what names a snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.errors import DataError
from slipway.monitoring.result import WindowResult, write_result
from slipway.stores.model_store import LocalModelStore
from tests.cli.commands import slipway
from tests.model_files import provenance, write_model
from tests.recorded_runs import write_run

NAMED = ("of-run", "of-version", "joined-by-version", "of-window", "of-module", "of-view")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with snapshots of files that differ; all but the last are named by something."""
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    (tmp_path / "modules" / "trips").mkdir(parents=True)
    module = "contract: 1\ntask: regression\nlabel: {column: price}\ndata: snapshot:of-module\n"
    (tmp_path / "modules" / "trips" / "module.yaml").write_text(module)
    monkeypatch.setenv("SLIPWAY_MODULES", str(tmp_path / "modules"))
    (tmp_path / "features" / "driver").mkdir(parents=True)
    view = "-- {description: Trips, owner: ann, keys: [driver], time: known, data: snapshot:of-view}\nSELECT 1\n"
    (tmp_path / "features" / "driver" / "daily.sql").write_text(view)
    for number, name in enumerate((*NAMED, "of-nothing")):
        (tmp_path / f"{number}.csv").write_text(f"fare,tips\n{number},1\n")
        assert slipway("data", "snapshot", str(tmp_path / f"{number}.csv"), "--name", name).exit_code == 0
    home = tmp_path / "home"
    record = write_run(home, "taxi-1", "pushed")
    for path in record.glob("*.json"):
        path.write_text(path.read_text().replace("/data/trips.csv", "snapshot:of-run"))
    made = provenance("taxi")
    joined = {"driver/daily": "snapshot:joined-by-version"}
    lineage = made.lineage.model_copy(update={"data_uri": "snapshot:of-version", "features_data": joined})
    write_model(tmp_path / "model")
    LocalModelStore(home / "models").push(tmp_path / "model", made.model_copy(update={"lineage": lineage}))
    start = "2026-01-01T00:00:00Z"
    window = WindowResult(model="taxi", version=1, data="snapshot:of-window", start=start, end=start, requests=0)
    write_result(window, str(home / "monitoring" / "taxi" / start))
    return home


def test_prune_says_what_it_keeps_and_why(home: Path) -> None:
    told = slipway("data", "prune", "--dry-run").stdout
    for line in (
        "kept of-run: the run taxi-1 read it",
        "kept of-window: the window taxi/2026-01-01T00:00:00Z watched a model of it",
        "kept of-module: modules/trips/module.yaml names it",
        "kept of-view: features/driver/daily.sql names it",
        "would remove of-nothing: nothing names it",
    ):
        assert line in told
    assert "kept of-version: version " in told
    assert "kept joined-by-version: version " in told
    found = json.loads(slipway("data", "prune", "--json").stdout)
    assert (found["removed"], len(found["kept"])) == (["of-nothing"], len(NAMED))
    left = [one["name"] for one in json.loads(slipway("data", "list", "--json").stdout)]
    assert left == list(NAMED)


def test_prune_refuses_where_a_record_cannot_be_read(home: Path) -> None:
    for path in (home / "runs" / "taxi-1").glob("*.json"):
        path.write_text("{")
    with pytest.raises(Exception, match=r"taxi-1: .* cannot be read, so which data it names is unknown"):
        slipway("data", "prune")


def test_show_tells_what_names_a_snapshot(home: Path) -> None:
    shown = json.loads(slipway("data", "show", "of-run", "--json").stdout)
    assert (shown["used"], [Path(path).read_text() for path in shown["paths"]]) == (
        ["the run taxi-1 read it"],
        ["fare,tips\n0,1\n"],
    )
    assert "the run taxi-1 read it" in slipway("data", "show", "of-run").stdout
    with pytest.raises(DataError, match=r"no snapshot 'of-rum'.*of-run"):
        slipway("data", "show", "of-rum")


def test_diff_tells_rows_columns_types_and_what_moved(home: Path, tmp_path: Path) -> None:
    rows = [f"{number},{number % 7},{'a' if number % 2 else 'b'}" for number in range(2_000)]
    moved = [f"{number + 1500},{number % 7}.5" for number in range(1_000)]
    (tmp_path / "a.csv").write_text("\n".join(["fare,hour,company", *rows]))
    (tmp_path / "b.csv").write_text("\n".join(["fare,hour", *moved]))
    for name in "ab":
        slipway("data", "snapshot", str(tmp_path / f"{name}.csv"), "--name", name)
    found = json.loads(slipway("data", "diff", "a", "snapshot:b", "--json").stdout)
    columns = {one["column"]: one for one in found["columns"]}
    assert found["rows"] == [2_000, 1_000]
    assert columns["fare"]["types"] == ["integer", "integer"]
    assert columns["fare"]["moved"]
    assert columns["fare"]["apart"] > 0.5
    assert columns["hour"]["types"] == ["integer", "float"]
    assert columns["company"]["types"] == ["string", None]
    lines = slipway("data", "diff", "a", "b").stdout.splitlines()
    assert lines[0].split() == ["rows", "2,000", "→", "1,000"]
    assert any(line.startswith("company") and "is not there" in line for line in lines)


def test_snapshot_is_read_wherever_data_are(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{number % 50},{number % 2}" for number in range(200)]
    (tmp_path / "rows.csv").write_text("\n".join(["fare,tips", *rows]))
    slipway("data", "snapshot", "rows.csv", "--name", "rows")
    assert 'name: "tips"' in slipway("schema", "infer", "--data", "snapshot:rows").stdout
    made = slipway("module", "new", "fares", "--data", "snapshot:rows", "--label", "tips")
    assert made.exit_code == 0, made.output
    assert "data: snapshot:rows" in (tmp_path / "modules" / "fares" / "module.yaml").read_text()
    assert slipway("module", "check", "fares").exit_code == 0


def test_list_without_snapshots_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    assert "slipway data snapshot URI --name NAME" in slipway("data", "list").stdout
