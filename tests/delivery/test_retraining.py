"""Trainings that a monitor asked for: found by their key, started once, finished by the next one."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from delivery.environment import Environment, open_environment
from delivery.retraining import ATTEMPTS, finish_retraining, submit_retraining
from delivery.submission import prepared
from slipway.errors import ConfigError
from slipway.lineage import Lineage
from slipway.monitoring.decision import State
from slipway.monitoring.state import change_state, read_state
from slipway.runs.record import Step, StepsFile
from slipway.runs.store import RunView
from slipway.stores import storage
from slipway.targets import RemoteTarget

KEY = "c0ffee" * 8


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS", json.dumps({"stdout": True}))
    environment = open_environment()
    change_state(folder(environment), lambda state: (None, State(pending=KEY)))
    return environment


def folder(environment: Environment) -> str:
    return f"{environment.local.monitoring}/taxi"


def finish(environment: Environment, tmp_path: Path) -> RunView | None:
    """The data are not there, so that a training ends at its first step."""
    return finish_retraining(environment, "taxi", str(tmp_path / "no.csv"), notify=False, on_change=lambda _: None)


def record(environment: Environment, name: str, *, finished: float | None) -> None:
    place = Path(environment.local.runs, name)
    place.mkdir(parents=True)
    lineage = Lineage(run=name, module="taxi", module_digest="d", data_uri="x", started=1.0)
    steps = StepsFile(
        lineage=lineage, pid=1, pid_started=1, steps=[Step(name="a", state="succeeded")], finished=finished
    )
    (place / "steps.json").write_text(steps.model_dump_json())


def runs(environment: Environment) -> list[str]:
    return sorted(path.name for path in Path(environment.local.runs).glob("*"))


def test_a_pending_training_is_run_and_confirmed_once(environment: Environment, tmp_path: Path) -> None:
    view = finish(environment, tmp_path)
    assert view is not None
    assert view.name.endswith(KEY[:12])
    assert (view.state, view.summary.failed_step) == ("failed", "resolve_source")
    assert read_state(folder(environment)).pending == ""
    assert finish(environment, tmp_path) is None
    assert runs(environment) == [view.name]


def test_one_that_ended_already_is_found_by_its_key(environment: Environment, tmp_path: Path) -> None:
    record(environment, f"taxi-1-{KEY[:12]}", finished=9.0)
    view = finish(environment, tmp_path)
    assert view is not None
    assert view.name == f"taxi-1-{KEY[:12]}"
    assert read_state(folder(environment)).pending == ""


def test_one_that_was_cut_short_is_run_again_but_not_for_ever(environment: Environment, tmp_path: Path) -> None:
    record(environment, f"taxi-1-{KEY[:12]}", finished=None)
    view = finish(environment, tmp_path)
    assert view is not None
    assert view.state == "failed"
    assert len(runs(environment)) == 2
    other = "decade" * 8
    change_state(folder(environment), lambda state: (None, State(pending=other)))
    for number in range(ATTEMPTS):
        record(environment, f"taxi-{number}-{other[:12]}", finished=None)
    last = finish(environment, tmp_path)
    assert last is not None
    assert last.state == "interrupted"
    assert len(runs(environment)) == 2 + ATTEMPTS
    assert read_state(folder(environment)).pending == ""


def test_while_another_monitor_trains_nothing_is_started(environment: Environment, tmp_path: Path) -> None:
    with Path(folder(environment), "training.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert finish(environment, tmp_path) is None
    assert runs(environment) == []
    assert read_state(folder(environment)).pending == KEY


@pytest.fixture(params=["kubeflow", "vertex"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RemoteTarget:
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    request.getfixturevalue(request.param)
    name: RemoteTarget = request.param
    return name


def titles(target: RemoteTarget, request: pytest.FixtureRequest) -> list[str]:
    fake = request.getfixturevalue(target)
    if target == "kubeflow":
        return [one["display_name"] for one in fake.runs.values()]
    return [name.rpartition("/")[2] for name in fake.jobs]


def test_on_a_cluster_it_is_started_once_by_its_key(target: RemoteTarget, request: pytest.FixtureRequest) -> None:
    environment = open_environment()
    place = storage.join(environment.remote.monitoring, "taxi")
    assert submit_retraining(environment, target, "taxi") is None
    change_state(place, lambda state: (None, State(pending=KEY)))
    started = submit_retraining(environment, target, "taxi")
    assert started is not None
    assert titles(target, request) == [f"taxi-{KEY[:12]}"]
    assert read_state(place).pending == ""
    assert submit_retraining(environment, target, "taxi") is None

    change_state(place, lambda state: (None, State(pending=KEY)))  # killed before it was confirmed
    again = submit_retraining(environment, target, "taxi")
    assert again is not None
    assert again.id == started.id
    assert titles(target, request) == [f"taxi-{KEY[:12]}"]
    assert read_state(place).pending == ""


def test_the_monitor_is_a_pipeline_of_a_cluster(target: RemoteTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    environment = open_environment()
    with prepared(environment, target, "taxi", pipeline="monitoring") as submission:
        assert submission.package.name == "slipway-monitoring"
        assert submission.arguments["log_uri"] == "gs://bucket/requests"
        assert submission.arguments["window_start"] == ""
    own = environment.override([("monitoring.labels", "labels.csv")])
    with pytest.raises(ConfigError, match=r"labels\.csv"), prepared(own, target, "taxi", pipeline="monitoring"):
        pass
