"""The whole road on S3: what a run leaves, what is pushed, fetched, served, logged, watched, rolled back and shown.

The steps run here, each in a process of its own, with the state that a cluster's runs share on s3://: over moto, or
over the real server that SLIPWAY_S3_SERVER names. The tests build on each other, in their order.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from console.site import Site
from delivery.environment import open_environment
from slipway.monitoring.state import read_state
from slipway.stores import storage
from tests.console.served import get
from tests.e2e.served import serve
from tests.e2e.workspace import PROJECT, Workspace, make_workspace
from tests.fakes.s3_server import BUCKET, S3Server
from tests.request_windows import write_requests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]

HOME, DATA, LOG = f"s3://{BUCKET}/home", f"s3://{BUCKET}/data/trips.csv", f"s3://{BUCKET}/requests"
EASY = {"training": {"epochs": 1}, "thresholds": [{"metric": "auc", "min": 0.5}]}
LONG = {**EASY, "training": {"epochs": 30, "patience": 0, "seed": 44}}
# On folds, as so few rows are judged by default, each trial trains five models.
SEARCHED = {**EASY, "search_space": {"learning_rate": {"min": 0.001, "max": 0.01}}, "tuning": {"trials": 2, "folds": 1}}


@pytest.fixture(scope="module")
def workspace(s3_emulator: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Of a user whose variables name the store, and whose settings the home there."""
    folder = make_workspace(tmp_path_factory.mktemp("road"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_emulator.port}")
        environment.setenv("SLIPWAY_REMOTE_HOME", HOME)
        environment.setenv("SLIPWAY_HOME", str(folder.home))
        yield folder
        s3_emulator.clear()


@pytest.fixture(scope="module")
def trips(workspace: Workspace) -> Path:
    """3,000 trips, which are on S3, too."""
    from modules.taxi.sample import write_sample

    path = workspace.home.parent / "trips.csv"
    write_sample(path, rows=3_000)
    storage.copy(str(path), DATA)
    return path


def started(workspace: Workspace, changes: dict[str, Any], pipeline: str = "training") -> subprocess.Popen[str]:
    folder = workspace.home.parent
    given = (pipeline, str(workspace.modules / "taxi"), str(folder / "steps"), DATA, HOME, LOG, json.dumps(changes))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.steps_on_s3", *given],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def play(workspace: Workspace, changes: dict[str, Any], pipeline: str = "training") -> tuple[str, str]:
    """Name and screen of a run that succeeds."""
    process = started(workspace, changes, pipeline)
    try:
        screen, _ = process.communicate(timeout=900)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, screen[-3000:]
    return screen.split()[-1], screen


def listed(workspace: Workspace) -> dict[int, str]:
    """Stages of the versions, oldest first."""
    found = json.loads(workspace.slipway("models", "list", "--json").stdout)
    return {one["version"]: one["stage"] for one in reversed(found)}


def names(folder: str) -> set[str]:
    return set(storage.list_names(f"{HOME}/{folder}"))


@pytest.mark.usefixtures("trips")
def test_run_leaves_its_record_module_source_and_version_on_s3(workspace: Workspace) -> None:
    run, _ = play(workspace, EASY)
    assert {"outcome.json", "summary.json", "report.html"} <= names(f"runs/{run}")
    assert names("modules/taxi")
    assert names("sources")
    assert not names("checkpoints"), "those of a training that ended are removed"
    [number] = listed(workspace)
    outcome = json.loads(storage.read_bytes(f"{HOME}/runs/{run}/outcome.json"))
    assert (outcome["verdict"], outcome["path"]) == ("pushed", f"{HOME}/models/taxi/{number}")
    assert run in workspace.slipway("explain", f"taxi/{number}").stdout
    workspace.slipway("models", "verify", "taxi")


def test_version_that_was_fetched_answers_as_the_one_on_s3(workspace: Workspace, trips: Path, tmp_path: Path) -> None:
    [number] = listed(workspace)
    folder = tmp_path / "taxi"
    workspace.slipway("models", "fetch", "taxi", str(number), "--to", str(folder))
    logged = ("--request-log", LOG, "--request-log-fields", "*")
    for at, options in enumerate([("--model-name", "taxi", "--model-base-path", str(folder)), logged]):
        with serve(workspace, *options) as served:
            output = str(tmp_path / f"{at}.csv")
            workspace.slipway("predict", "--address", served.grpc, "--csv", str(trips), "--output", output)
    assert (tmp_path / "0.csv").read_text() == (tmp_path / "1.csv").read_text()
    [file] = [file for file in storage.list_files(LOG) if file.name.endswith(".parquet")]
    assert file.name.startswith("model=taxi/date=")


def test_monitor_reads_log_and_labels_and_keeps_its_state_on_s3(workspace: Workspace, trips: Path) -> None:
    [number] = listed(workspace)
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    with trips.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["trip_miles"] and row["fare"]][:1000]
    asked = [{"trip_miles": 3 * float(row["trip_miles"]), "fare": float(row["fare"])} for row in rows]
    ids = write_requests(LOG, "taxi", number, yesterday, asked, [0.5] * len(asked), seconds=80_000)
    labels = [f"{one},{row['tips']},{row['fare']}" for one, row in zip(ids, rows, strict=True)]
    storage.write_text(f"{HOME}/labels.csv", "\n".join(["request_id,tips,fare", *labels]) + "\n")
    play(workspace, {**EASY, "monitoring": {"labels": f"{HOME}/labels.csv"}}, "monitoring")
    assert read_state(f"{HOME}/monitoring/taxi").windows
    [window] = json.loads(workspace.slipway("monitor", "history", "taxi", "--json").stdout)
    assert (window["version"], window["requests"]) == (number, len(asked))
    assert window["verdict"] in ("drift", "broken")
    assert window["performance"][0]["scores"]


def test_training_that_was_killed_goes_on_from_its_checkpoint_on_s3(workspace: Workspace) -> None:
    process = started(workspace, LONG)
    until = time.monotonic() + 240
    while not names("checkpoints") and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert names("checkpoints")
    _, screen = play(workspace, LONG)
    assert "resumed after epoch" in screen
    assert not names("checkpoints")


def test_search_keeps_its_trials_on_s3(workspace: Workspace) -> None:
    run, _ = play(workspace, SEARCHED)
    assert len([file for file in storage.list_files(f"{HOME}/tuning/taxi") if "trial" in file.name]) >= 2
    assert "tuning.json" in names(f"runs/{run}")


def test_roll_back_promote_and_prune_versions_on_s3(workspace: Workspace) -> None:
    *others, before, last = listed(workspace)
    for number in (before, last):
        workspace.slipway("models", "promote", f"taxi/{number}", "--why", "better")
    workspace.slipway("models", "rollback", "taxi", "--why", "worse")
    stages = listed(workspace)
    assert (stages[before], stages[last]) == ("stable", "quarantined")
    workspace.slipway("models", "prune", "taxi", "--keep", "0")
    assert before in listed(workspace)
    assert not {str(number) for number in others} & names("models/taxi")
    workspace.slipway("models", "verify", "taxi")
    history = json.loads(workspace.slipway("models", "history", "taxi", "--json").stdout)
    assert history[0]["action"] == "delete"


def test_snapshot_on_s3_is_trained_on_and_the_run_repeated(workspace: Workspace) -> None:
    workspace.slipway("data", "snapshot", DATA, "--name", "first")
    assert [one["name"] for one in json.loads(workspace.slipway("data", "list", "--json").stdout)] == ["first"]
    quick = ("--set", "training.epochs=1", "--set", "thresholds=[{metric: auc, min: 0.5}]")
    workspace.slipway("run", "taxi", "--data", "snapshot:first", *quick)
    workspace.slipway("run", "--again", workspace.last_run()["run"])


def test_table_on_s3_is_predicted_to_s3(workspace: Workspace) -> None:
    to = f"s3://{BUCKET}/scores"
    workspace.slipway("predict", "taxi", "--batch", DATA, "--to", to)
    manifest = json.loads(storage.read_bytes(f"{to}/manifest.json"))
    assert manifest["predicted"] + manifest["quarantined"] == 3_000
    assert any(name.startswith("part-") for name in storage.list_names(to))


def test_console_shows_what_is_on_s3(workspace: Workspace) -> None:
    site = Site(open_environment())
    [run, *_] = sorted(names("runs"))
    [version, *_] = listed(workspace)
    pages = {"/runs": run, f"/runs/{run}/files/record/summary.json": run, "/models": "taxi"}
    for path, said in {**pages, f"/models/taxi/{version}": str(version)}.items():
        answer = get(site, path)
        assert (answer.status, said in answer.text) == (200, True), path


@pytest.mark.usefixtures("workspace")
def test_nothing_was_taken_for_a_path() -> None:
    assert not (PROJECT / "s3:").exists()
