"""Trainings that a monitor asked for: found by their key, started once, finished by the next one."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from delivery.environment import Environment, open_environment
from delivery.package import edges, read_package, spec_of
from delivery.retraining import ATTEMPTS, ask_for_retraining, finish_retraining, submit_retraining
from delivery.schedules import apply
from delivery.submission import local_request, packaged, prepared, recurring_runs, sample_data, write_package
from delivery.targets.base import RemoteRun
from pipelines.platform import TaskDefaults
from pipelines.registry import find_pipeline
from slipway.errors import ConfigError, StoreError, TargetError
from slipway.lineage import Lineage, user_at_host
from slipway.monitoring.claim import CLAIM_SECONDS
from slipway.monitoring.columns import compare_column
from slipway.monitoring.counts import choose_cells, count
from slipway.monitoring.decision import Claim, State
from slipway.monitoring.result import WindowResult, write_result
from slipway.monitoring.state import change_state, read_state
from slipway.platforms.starter import PreparedRun
from slipway.runs.record import Step, StepsFile
from slipway.runs.store import RunView
from slipway.stores import storage
from slipway.targets import RemoteTarget
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance, write_model

KEY = "c0ffee" * 8

COLUMNS = "trip_start_hour,trip_start_day,payment_type,company,fare,tips"


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


def test_a_training_says_by_which_window_it_was_started_and_any_other_run_by_whom(
    environment: Environment, tmp_path: Path
) -> None:
    change_state(folder(environment), lambda state: (None, State(pending=KEY, windows=["2026-01-01T00"])))
    view = finish(environment, tmp_path)
    assert view is not None
    assert view.summary.lineage.started_by == "monitor at window 2026-01-01T00"
    own = local_request(environment, "taxi", str(tmp_path), notify=False, pipeline="monitoring")
    assert own.lineage.started_by == user_at_host()


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


@pytest.fixture(params=["kubeflow", pytest.param("vertex", marks=pytest.mark.slow)])
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


def test_an_event_trains_on_new_data_once(
    target: RemoteTarget, request: pytest.FixtureRequest, storage_server: StorageServer, tmp_path: Path
) -> None:
    """Events come twice, and again after the model that the first one led to was pushed."""
    environment = open_environment().override([("monitoring.retraining.triggers", ["new_data"])])
    data = storage_server.uri("trips.csv")

    def event() -> tuple[str, RemoteRun | None]:
        decision = ask_for_retraining(environment, target, "taxi", data, "new_data")
        return decision.action, submit_retraining(environment, target, "taxi", data)

    storage.write_text(data, f"{COLUMNS}\n")
    with pytest.raises(StoreError, match="push a first one"):
        event()
    environment.store().push(write_model(tmp_path / "1", 1), provenance("taxi"))
    assert event()[0] == "train"
    assert event() == ("nothing", None)
    environment.store().push(write_model(tmp_path / "2", 2), provenance("taxi"))
    assert event() == ("nothing", None)
    storage.write_text(data, f"{COLUMNS}\n{',' * COLUMNS.count(',')}\n")
    assert event() == ("wait", None), "the cool-down holds"
    assert len(titles(target, request)) == 1


def test_an_event_trains_nothing_while_a_feature_is_broken(
    target: RemoteTarget, storage_server: StorageServer, tmp_path: Path
) -> None:
    environment = open_environment().override([("monitoring.retraining.triggers", ["new_data"])])
    data = storage_server.uri("trips.csv")
    storage.write_text(data, f"{COLUMNS}\n")
    environment.store().push(write_model(tmp_path / "1", 1), provenance("taxi"))
    fares = pa.array(range(1_000), pa.float64())
    trained, now = count(fares, choose_cells(fares)), pa.nulls(500, pa.float64())
    fare = compare_column("fare", count(now, trained.cells), now, trained, None, threshold=0.02, columns=1)
    start = "2026-03-01T00:00:00Z"
    window = WindowResult(
        model="taxi", version=1, start=start, end="2026-03-02T00:00:00Z", requests=500, columns=[fare]
    )
    write_result(window, storage.join(environment.remote.monitoring, "taxi", start))

    decision = ask_for_retraining(environment, target, "taxi", data, "new_data")
    assert decision.action == "alert"
    assert "fare: 100.0% of the values are missing" in decision.reason
    assert ask_for_retraining(environment, target, "taxi", data, "hand").action == "train"


def test_while_a_monitor_submits_it_the_command_does_not(target: RemoteTarget, request: pytest.FixtureRequest) -> None:
    environment = open_environment()
    place = storage.join(environment.remote.monitoring, "taxi")
    claim = Claim(by="taxi-run-1", at=time.time())
    change_state(place, lambda state: (None, State(pending=KEY, claim=claim)))
    with pytest.raises(TargetError, match=r"taxi-run-1.*30 minutes"):
        submit_retraining(environment, target, "taxi")
    assert titles(target, request) == []
    late = claim.model_copy(update={"at": claim.at - CLAIM_SECONDS - 1})
    change_state(place, lambda state: (None, State(pending=KEY, claim=late)))
    assert submit_retraining(environment, target, "taxi") is not None
    assert titles(target, request) == [f"taxi-{KEY[:12]}"]


def test_two_runs_of_the_name_do_not_keep_it_pending(kubeflow: FakeKubeflow) -> None:
    environment = open_environment()
    place = storage.join(environment.remote.monitoring, "taxi")
    change_state(place, lambda state: (None, State(pending=KEY)))
    started = submit_retraining(environment, "kubeflow", "taxi")
    assert started is not None
    other = "ffffffff-0000-4000-8000-000000000000"
    kubeflow.runs[other] = kubeflow.runs[started.id] | {"run_id": other, "created_at": "2027-01-01T00:00:00Z"}
    change_state(place, lambda state: (None, State(pending=KEY)))
    found = submit_retraining(environment, "kubeflow", "taxi")
    assert found is not None
    assert found.id == started.id


def test_the_monitor_is_a_pipeline_of_a_cluster(target: RemoteTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    environment = open_environment()
    with prepared(environment, target, "taxi", pipeline="monitoring") as submission:
        assert submission.package.name == "slipway-monitoring"
        assert submission.arguments["log_uri"] == "gs://bucket/requests"
        assert submission.arguments["window_start"] == ""
        assert edges(submission.package.spec)["submit_training"] == ["decide_retraining"]
        documents = list(yaml.safe_load_all(submission.package.path.read_text()))
    labels = {"kubeflow": [{"access-ml-pipeline": "true"}], "vertex": []}[target]
    executors = [one["platforms"]["kubernetes"]["deploymentSpec"]["executors"] for one in documents[1:]]
    assert [one["podMetadata"]["labels"] for found in executors for one in found.values()] == labels
    assert [name for found in executors for name in found] == ["exec-submit-training"] * len(labels)


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("monitoring.labels", "labels.csv"),
        ("monitoring.labels", "gs://bucket/may.csv,june.csv"),
        ("request_log", "/var/log/requests"),
        ("request_log", "file:///var/log/requests"),
    ],
)
def test_a_monitor_on_a_cluster_reads_nothing_of_this_machine(target: RemoteTarget, setting: str, place: str) -> None:
    own = open_environment().override([(setting, place)])
    said = rf"{setting} = .*{place.rpartition(',')[2]}'.*cannot read this machine"
    with pytest.raises(ConfigError, match=said), prepared(own, target, "taxi", pipeline="monitoring"):
        pass


def test_the_training_is_prepared_with_the_monitor(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content, so that a recurring monitor is replaced where its training changed, and nowhere else."""
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    environment = open_environment()

    def uri(*overrides: tuple[str, object], publish: bool = False) -> str:
        own = environment.override(overrides)
        with prepared(own, "kubeflow", "taxi", pipeline="monitoring", publish=publish) as submission:
            return submission.package.constant("training_uri")

    first = uri()
    assert not storage.exists(first)
    assert uri(publish=True) == first
    run = PreparedRun.model_validate_json(storage.read_bytes(first))
    assert run.target == "kubeflow"
    assert [one["display_name"].partition("-")[0] for one in kubeflow.versions.values()] == ["taxi"]
    monkeypatch.setattr("delivery.launch.git_revision", lambda folder: "f" * 40)
    assert uri() == first, "another commit, and all else the same"
    assert len({first, uri(("training.epochs", 3)), uri(("kubeflow.service_account", "trainer"))}) == 3
    with pytest.raises(ConfigError, match=r"'moniturin'.*monitoring"):
        uri(("kubeflow.service_accounts", {"moniturin": "a"}))


def test_a_recurring_monitor_is_replaced_where_its_training_changed(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__SERVICE_ACCOUNT", "slipway-pipeline")
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__SERVICE_ACCOUNTS", json.dumps({"monitoring": "slipway-monitor"}))

    def applied(**overrides: object) -> list[str]:
        watch = {"pipeline": "monitoring", "module": "taxi", "cron": "30 0 * * *", "overrides": overrides}
        monkeypatch.setenv("SLIPWAY_SCHEDULES", json.dumps({"watch": watch}))
        environment, verbs = open_environment(), []
        with recurring_runs(environment, "kubeflow", publish=True) as wanted:
            apply(wanted, environment.target("kubeflow").schedules, lambda action: verbs.append(action.verb))
        return [*verbs]

    assert applied() == ["create", "enable"]
    monkeypatch.setattr("delivery.launch.git_revision", lambda folder: "f" * 40)
    assert applied() == []
    assert "replace" in applied(**{"training.epochs": 3})
    [recurring] = kubeflow.recurring_runs.values()
    assert recurring["service_account"] == "slipway-monitor"


def test_an_older_kubeflow_takes_the_monitor_with_its_label(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    kubeflow.version = "2.15.0"
    environment = open_environment()
    with prepared(environment, "kubeflow", "taxi", pipeline="monitoring") as submission:
        environment.target("kubeflow").submit(submission)
    documents = [one["platform_spec"] for one in kubeflow.versions.values()]
    labelled = {"executors": {"exec-submit-training": {"podMetadata": {"labels": {"access-ml-pipeline": "true"}}}}}
    assert documents == [[], [{"platforms": {"kubernetes": {"deploymentSpec": labelled}}}]]


@pytest.mark.usefixtures("kubeflow")
def test_a_file_of_the_monitor_is_submitted_with_its_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    target: RemoteTarget = "kubeflow"
    environment, path = open_environment(), tmp_path / "monitor.yaml"
    write_package(environment, target, "taxi", None, "monitoring", path)
    uri = read_package(path).constant("training_uri")
    assert not storage.exists(uri)
    packaged(environment, target, path, "taxi", None)
    assert storage.exists(uri)
    own = environment.override([("training.epochs", 3)])
    write_package(own, target, "taxi", None, "monitoring", path)
    with pytest.raises(ConfigError, match="--set"):
        packaged(environment, target, path, "taxi", None)


def test_on_this_machine_the_command_trains(environment: Environment, tmp_path: Path) -> None:
    request = local_request(
        environment,
        "taxi",
        str(sample_data(environment.module_folders(["taxi"])[0], tmp_path)),
        notify=False,
        pipeline="monitoring",
    )
    assert request.arguments["training_uri"] == ""
    built = find_pipeline("monitoring").build(TaskDefaults("image"), request.arguments)
    assert [*edges(spec_of(built))][-2:] == ["decide_retraining", "record_run"]
