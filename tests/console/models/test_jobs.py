"""Actions that take minutes: started once, alive without the console, gone on with after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.models import jobs
from console.models.action_pages import job_page
from console.models.actions import Plan, command, plan
from console.models.catalog import Catalog
from delivery.environment import Environment, open_environment
from settings.load import PROJECT
from slipway.errors import StoreError
from slipway.runs.process import is_alive
from slipway.runs.store import load_run
from slipway.stores import storage
from tests.console.models.shelf import HOSTILE, described, push_versions
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import World, open_staging
from tests.fakes.storage_server import StorageServer
from tests.model_files import write_model

ONCE, AGAIN, THIRD = ("0123456789abcdef", "1123456789abcdef", "2123456789abcdef")
SECONDS = 120  # on a machine that has much else to do


@pytest.fixture
def environment(home: Path) -> Environment:
    """With a model whose module is not there: a training of it fails at once."""
    push_versions(home, 1, model="unknown")
    return open_environment()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_staging(tmp_path, monkeypatch) as opened:
        yield opened


def planned(environment: Environment, kind: str, model: str = "taxi", number: int | None = None) -> Plan:
    found = Catalog(environment).model(model)
    assert found is not None
    chosen = plan(kind, found, number, has_cluster=bool(environment.settings.serving.overlay))  # type: ignore[arg-type]
    assert chosen is not None
    return chosen


def view_of(environment: Environment, name: str) -> jobs.JobView:
    view = jobs.view_job(environment, name)
    assert view is not None
    return view


def ended(environment: Environment, name: str) -> jobs.JobView:
    until = time.monotonic() + SECONDS
    while (view := view_of(environment, name)).state == "running" and time.monotonic() < until:
        time.sleep(0.1)
    return view


def test_a_job_is_started_once_and_tells_its_end_in_words(environment: Environment) -> None:
    chosen = planned(environment, "retrain", "unknown")
    names = {jobs.start(environment, chosen, "newer data", ONCE) for _ in range(3)}
    [name] = names
    view = ended(environment, name)
    assert (view.state, view.job.why) == ("failed", "newer data")
    assert "there is no module 'unknown'" in view.said
    assert [one.name for one in jobs.list_jobs(environment, "unknown")] == [name]


def test_a_trainings_run_says_who_asked_and_why(home: Path) -> None:
    """The data are not there, so that it ends at its first step."""
    push_versions(home, 1)
    environment = open_environment()
    name = jobs.start(environment, planned(environment, "retrain"), "newer data", ONCE, data=str(home / "no.csv"))
    run = load_run(environment.local.runs, ended(environment, name).run)
    assert run.summary.lineage.started_by == view_of(environment, name).job.by
    assert run.notes.note == "newer data"


@pytest.mark.slow
def test_another_job_of_the_model_waits_for_its_end(environment: Environment) -> None:
    chosen = planned(environment, "retrain", "unknown")
    name = jobs.start(environment, chosen, "newer data", ONCE)
    with pytest.raises(StoreError, match="is running"):
        jobs.start(environment, chosen, "newer data", AGAIN)
    ended(environment, name)
    ended(environment, jobs.start(environment, chosen, "newer data", AGAIN))


def test_a_job_goes_on_when_the_console_is_killed(environment: Environment) -> None:
    program = (
        "import os, sys; from delivery.environment import open_environment; from console.models import jobs; "
        "from console.models.catalog import Catalog; from console.models.actions import plan; "
        "environment = open_environment(); model = Catalog(environment).model('unknown'); "
        "chosen = plan('retrain', model, None, has_cluster=False); "
        f"jobs.start(environment, chosen, 'newer data', {ONCE!r}); os.kill(os.getpid(), 9)"
    )
    console = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False, timeout=SECONDS)
    assert console.returncode == -signal.SIGKILL
    view = ended(environment, f"retrain-{ONCE}")
    assert (view.state, "no module" in view.said) == ("failed", True)


def test_a_job_that_was_killed_is_told_and_escaped(environment: Environment, tmp_path: Path) -> None:
    folder = tmp_path / "console" / "jobs" / f"retrain-{ONCE}"
    folder.mkdir(parents=True)
    job = jobs.Job(kind="retrain", model="unknown", why=HOSTILE, by=HOSTILE, asked=0.0)
    (folder / "job.json").write_text(job.model_dump_json())
    (folder / "log.txt").write_text(HOSTILE)
    view = view_of(environment, f"retrain-{ONCE}")
    page = str(job_page(view))
    assert view.state == "interrupted"
    assert "begins anew" in page
    assert "<script>" not in page


def test_old_jobs_are_removed_and_damaged_ones_are_left_out(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEPT", 2)
    folder = tmp_path / "console" / "jobs"
    for number in range(4):
        place = folder / f"retrain-{number:016x}"
        place.mkdir(parents=True)
        job = jobs.Job(kind="retrain", model="unknown", why="x", by="ann", asked=float(number))
        (place / "job.json").write_text(job.model_dump_json() if number else "{")
        (place / "end.json").write_text(jobs.End(state="failed", said="x").model_dump_json())
    name = jobs.start(environment, planned(environment, "retrain", "unknown"), "newer data", ONCE)
    ended(environment, name)
    listed = [one.name for one in jobs.list_jobs(environment, "unknown")]
    assert listed == [name, *(f"retrain-{number:016x}" for number in (3, 2))]


def test_a_rollout_is_played_to_its_end(world: World) -> None:
    environment = open_environment("staging")
    first = world.versions[0]
    name = jobs.start(environment, planned(environment, "rollout", number=first), "as agreed", ONCE)
    view = ended(environment, name)
    assert (view.state, world.stable) == ("succeeded", first), view
    assert f"canary: version {first}" in view.log
    history = world.store.history("taxi")
    assert [one.why for one in history if one.action == "canary"] == ["rollout into slipway-staging; as agreed"]
    assert all(one.says.startswith("console of ") for one in history if one.action != "push")


@pytest.mark.slow
def test_a_rollout_that_is_killed_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = open_environment("staging")
    first, second = world.versions[:2]
    world.start(first)
    world.servers.new_pod = Pod  # nobody asks
    monkeypatch.setenv("SLIPWAY_SERVING__TRAFFIC_SECONDS", "600")
    chosen = planned(environment, "rollout", number=second)
    name = jobs.start(environment, chosen, "as agreed", ONCE)
    until = time.monotonic() + SECONDS
    while "is ready with version" not in view_of(environment, name).log and time.monotonic() < until:
        time.sleep(0.1)
    process = jobs.Process.model_validate_json((jobs.jobs_folder(environment) / name / "process.json").read_text())
    os.kill(process.pid, signal.SIGKILL)
    while is_alive(process.pid, process.started) and time.monotonic() < until:
        time.sleep(0.05)
    killed = view_of(environment, name)
    assert killed.state == "interrupted"
    assert "goes on where it was" in str(job_page(killed))

    world.expire_lease()
    monkeypatch.setenv("SLIPWAY_SERVING__TRAFFIC_SECONDS", "0")
    resumed = ended(
        environment, jobs.start(environment, planned(environment, "rollout", number=second), "again", AGAIN)
    )
    assert (resumed.state, f"going on with version {second}: canary" in resumed.log) == ("held", True), resumed
    aborted = ended(environment, jobs.start(environment, planned(environment, "abort"), "not now", THIRD))
    assert (aborted.state, world.stable) == ("succeeded", first), aborted


@pytest.mark.slow
def test_a_held_canary_is_decided(world: World) -> None:
    environment = open_environment("staging")
    first, second = world.versions[:2]
    world.start(first)
    world.servers.new_pod = Pod
    held = ended(environment, jobs.start(environment, planned(environment, "rollout", number=second), "try", ONCE))
    assert (held.state, "cannot be judged" in held.said) == ("held", True), held
    decided = ended(environment, jobs.start(environment, planned(environment, "decide"), "it is well", AGAIN))
    assert (decided.state, world.stable) == ("succeeded", second), decided
    back = ended(environment, jobs.start(environment, planned(environment, "rollback"), "it was not", THIRD))
    assert (back.state, world.stable) == ("succeeded", first), back
    assert world.store.stage("taxi", second) == "quarantined"


def test_a_training_on_a_cluster_is_started_as_the_monitor_would(
    kubeflow: FakeKubeflow, storage_server: StorageServer, tmp_path: Path
) -> None:
    environment = open_environment()
    data = storage_server.uri("trips.csv")
    storage.write_text(data, "trip_start_hour,trip_start_day,payment_type,company,fare,tips\n")
    environment.store().push(write_model(tmp_path / "model"), described(1))
    folder = jobs.jobs_folder(environment) / f"retrain-{ONCE}"
    job = jobs.Job(kind="retrain", model="taxi", why="newer data", by="console of ann", data=data)
    for again in range(2):  # the same model and data are trained once
        storage.write_text(str(folder / "job.json"), job.model_dump_json())
        jobs.main(folder)
        view = view_of(environment, folder.name)
        assert (view.state, len(kubeflow.runs)) == ("failed" if again else "succeeded", 1), view
        assert ("train: hand" in view.said) is not again
    model = Catalog(environment).model("taxi")
    assert model is not None
    assert command("retrain", model, None, environment) == "slipway monitor ask taxi --target kubeflow --why hand"
