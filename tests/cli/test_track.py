"""`slipway track sync`, and stages that commands change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.environment import open_environment
from delivery.submission import local_request, remote_request
from slipway.errors import ConfigError
from slipway.lineage import Lineage
from slipway.runs.record import RunContext
from slipway.runs.tracking.config import Tracked
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, Provenance, open_store
from tests.cli.commands import slipway
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.mlflow import Mlflow
from tests.recorded_runs import write_run

ANY = r"/api/2\.0/.*"


@pytest.fixture
def server(remote_home: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mlflow]:
    with Mlflow() as fake:
        monkeypatch.setenv("SLIPWAY_TRACKING__URI", fake.url)
        yield fake


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(remote_home: str, tmp_path: Path) -> ModelStore:
    """Two versions; the first is stable."""
    opened = open_store(storage.join(remote_home, "models"))
    for run in ("run-1", "run-2"):
        (model := tmp_path / run).mkdir()
        (model / "saved_model.pb").write_text(run)
        lineage = Lineage(run=run, module="taxi", module_digest="m", data_uri="trips.csv")
        opened.push(model, Provenance(model="taxi", lineage=lineage))
    opened.promote("taxi", opened.versions("taxi")[0].number)
    return opened


def aliased(server: Mlflow, model: str) -> dict[str, int]:
    its = server.models[model]
    numbers = {one["version"]: int(one["tags"]["slipway.version"]) for one in its["versions"]}
    return {alias: numbers[version] for alias, version in its["aliases"].items()}


def test_sync_writes_what_the_server_lacks_and_says_what(server: Mlflow, home: Path) -> None:
    for name, ending in (("taxi-1", "pushed"), ("taxi-2", "failed"), ("taxi-3", "running"), ("taxi-4", "interrupted")):
        write_run(home, name, ending)  # type: ignore[arg-type]
    rehearsal = slipway("track", "sync", "--dry-run").stdout
    assert [line.split()[-1] for line in rehearsal.splitlines()] == ["taxi-1", "taxi-2", "taxi-4"]
    assert (server.experiments, server.runs) == ({}, {})
    assert slipway("track", "sync").stdout == rehearsal.replace("would write", "wrote")
    assert server.experiments.keys() == {"taxi-local"}
    states = {run["info"]["run_name"]: run["info"]["status"] for run in server.runs.values()}
    assert states == {"taxi-1": "FINISHED", "taxi-2": "FAILED", "taxi-4": "FAILED"}
    assert slipway("track", "sync").stdout == f"{server.url} has all runs.\n"
    assert len(server.runs) == 3


def test_tags_and_notes_go_to_the_tracker_at_once_or_by_sync(server: Mlflow, home: Path) -> None:
    write_run(home, "taxi-1", "pushed")
    write_run(home, "taxi-2", "running")
    slipway("track", "sync")
    assert "not tracked" not in slipway("runs", "tag", "taxi-1", "owner=ann").stdout
    [run] = server.runs.values()
    assert run["tags"]["owner"] == "ann"
    server.fail("POST", ".*/runs/search", 500)
    assert "not tracked" in slipway("runs", "note", "taxi-1", "the one").stdout
    assert slipway("track", "sync").stdout == "wrote run taxi-1\n"
    assert run["tags"]["mlflow.note.content"] == "the one"
    slipway("runs", "tag", "taxi-1", "owner=")
    assert "owner" not in run["tags"]
    assert slipway("track", "sync").stdout == f"{server.url} has all runs.\n"
    slipway("runs", "tag", "taxi-2", "owner=ann")  # it runs: its end writes it
    assert len(server.runs) == 1
    with pytest.raises(ConfigError, match=r"slipway\.state"):
        slipway("runs", "tag", "taxi-1", "slipway.state=x")


def test_sync_after_an_outage_completes_the_run_that_was_begun(server: Mlflow, home: Path) -> None:
    write_run(home, "taxi-1", "pushed")
    server.fail("PUT", ".*/report.html", 507)
    done = slipway("track", "sync")
    assert done.exit_code == 1
    assert "507" in done.stderr
    assert slipway("track", "sync").stdout == "wrote run taxi-1\n"
    assert len(server.runs) == 1


def test_sync_ends_at_an_outage_and_goes_on_after_a_refusal(server: Mlflow, home: Path) -> None:
    for number in range(3):
        write_run(home, f"taxi-{number}", "pushed")
    server.fail("POST", ".*/runs/create", 400)
    refused = slipway("track", "sync")
    assert (refused.exit_code, len(server.runs)) == (1, 2)
    asked = len(server.requests)
    for method in ("GET", "POST"):
        server.fail(method, ANY, 500, times=99)
    out = slipway("track", "sync")
    assert (out.exit_code, len(server.requests) - asked) == (1, 1)


def test_sync_writes_an_environments_runs_and_versions_under_its_name(
    server: Mlflow, home: Path, store: ModelStore, remote_home: str
) -> None:
    folder = write_run(home, "taxi-1", "pushed")
    for name in ("steps.json", "summary.json", "outcome.json"):
        storage.copy(str(folder / name), storage.join(remote_home, "runs", "taxi-k", name))
    assert slipway("track", "sync", "--env", "staging").exit_code == 0
    assert server.experiments.keys() == {"taxi-local", "taxi-staging"}
    assert aliased(server, "taxi-staging") == {"production": store.versions("taxi")[0].number}
    assert server.models.keys() == {"taxi-staging"}


def test_commands_that_change_stages_mirror_them(server: Mlflow, store: ModelStore) -> None:
    first, second = (version.number for version in store.versions("taxi"))
    slipway("models", "promote", f"taxi/{second}", "--env", "staging")
    assert aliased(server, "taxi-staging") == {"production": second}
    slipway("models", "rollback", "taxi", "--env", "staging", "--why", "p99 doubled")
    assert aliased(server, "taxi-staging") == {"production": first}
    stages = [one["tags"]["slipway.stage"] for one in server.models["taxi-staging"]["versions"]]
    assert sorted(stages) == ["production", "quarantined"]


def test_commands_work_while_the_tracker_is_down(server: Mlflow, store: ModelStore) -> None:
    server.fail("GET", ANY, 500, times=9)
    second = store.versions("taxi")[1].number
    done = slipway("models", "promote", f"taxi/{second}", "--env", "staging")
    assert done.exit_code == 0
    assert "slipway track sync" in done.stdout
    assert store.production("taxi") == store.version("taxi", second)


def test_commands_on_another_store_mirror_nothing(server: Mlflow, tmp_path: Path) -> None:
    other = open_store(str(tmp_path / "other"))
    (model := tmp_path / "m").mkdir()
    (model / "saved_model.pb").write_text("m")
    lineage = Lineage(run="r", module="taxi", module_digest="m", data_uri="trips.csv")
    number = other.push(model, Provenance(model="taxi", lineage=lineage)).version.number
    slipway("models", "promote", f"taxi/{number}", "--store", str(tmp_path / "other"))
    assert server.requests == []


def test_sync_without_a_tracker_says_what_to_set(remote_home: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri"):
        slipway("track", "sync")


@pytest.mark.parametrize(("target", "experiment"), [("local", "taxi-local"), ("kubeflow", "taxi-staging")])
def test_runs_are_given_the_tracker_of_their_place(
    server: Mlflow, kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, target: str, experiment: str
) -> None:
    monkeypatch.setenv("SLIPWAY_TRACKING__TOKEN", "env:TRACKING")
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "")
    environment = open_environment("staging")
    request = (
        local_request(environment, "taxi", None, notify=False)
        if target == "local"
        else remote_request(environment, "kubeflow", "taxi", "gs://bucket/trips.csv", publish=False)
    )
    given = Tracked.model_validate(RunContext.model_validate_json(request.arguments["run"]).tracking)
    assert (given.uri, given.token, given.name_of("taxi")) == (server.url, "env:TRACKING", experiment)
    assert given.store == ("" if target == "local" else environment.remote.store)


def test_runs_are_given_no_tracker_where_the_settings_name_none(remote_home: str) -> None:
    request = local_request(open_environment("staging"), "taxi", None, notify=False)
    assert RunContext.model_validate_json(request.arguments["run"]).tracking == {}
