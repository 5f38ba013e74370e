"""The monitor's last step on a cluster: the training is found by its key or started, once, whatever dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.submit_training.component import submit_training
from components.submit_training.run import submit
from delivery.environment import open_environment
from slipway.errors import StoreError, TargetError
from slipway.lineage import Lineage
from slipway.monitoring.claim import CLAIM_SECONDS, claimed
from slipway.monitoring.decision import Claim, State
from slipway.monitoring.state import change_state, read_state
from slipway.platforms.prepared import write_prepared
from slipway.runs.record import Outcome, RunContext
from slipway.stores import storage
from slipway.targets import RemoteTarget
from tests.delivery.targets.submissions import submission
from tests.fakes.kubeflow import FakeKubeflow
from tests.steps import of_paths

KEY = "c0ffee" * 8
NAME = f"taxi-{KEY[:12]}"
DATA = "gs://bucket/new.csv"
RUNS = {"kubeflow": r"/apis/v2beta1/runs", "vertex": r"/v1/.*/pipelineJobs"}


@dataclass
class Monitored:
    """A monitor that was submitted to a target, and whose state asks for a training."""

    target: RemoteTarget
    fake: Any
    training_uri: str
    windows: str
    folder: Path

    def step(self, run: str = "taxi-run-1", data: str = DATA) -> str:
        """The step of one run; what it says."""
        uri = str(self.folder / run)
        storage.write_text(f"{uri}/outcome.json", Outcome(verdict="retrained", reasons=["drift"]).model_dump_json())
        lineage = Lineage(run=run, module="taxi", module_digest="d", data_uri=data)
        context = RunContext(uri=uri, lineage=lineage).model_dump_json()
        page = self.folder / "page.md"
        of_paths(submit_training)("taxi", self.training_uri, self.windows, data, 1, context, "job", "", str(page))
        return page.read_text()

    def outcome(self, run: str = "taxi-run-1") -> Outcome:
        return Outcome.model_validate_json((self.folder / run / "outcome.json").read_text())

    @property
    def state(self) -> State:
        return read_state(storage.join(self.windows, "taxi"))

    def ask(self, **state: Any) -> None:
        change_state(storage.join(self.windows, "taxi"), lambda _: (None, State(pending=KEY, keys=[KEY], **state)))

    def started(self) -> list[dict[str, Any]]:
        return [*(self.fake.runs if self.target == "kubeflow" else self.fake.jobs).values()]

    @property
    def titles(self) -> list[str]:
        return [one.get("display_name") or one["displayName"] for one in self.started()]


def prepare(target: RemoteTarget, fake: Any, folder: Path) -> Monitored:
    """The training is prepared as a submission of the monitor does it."""
    environment = open_environment()
    uri = storage.join(environment.remote.prepared, "training.json")
    write_prepared(environment.target(target).prepare(submission(target), "monitoring"), uri)
    monitored = Monitored(target, fake, uri, environment.remote.monitoring, folder)
    monitored.ask()
    return monitored


@pytest.fixture(params=["kubeflow", pytest.param("vertex", marks=pytest.mark.slow)])
def monitored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Monitored:
    fake = request.getfixturevalue(request.param)
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__SERVICE_ACCOUNT", "slipway-pipeline")
    monkeypatch.setenv("SLIPWAY_VERTEX__SERVICE_ACCOUNT", "slipway-pipeline@p.iam.gserviceaccount.com")
    accounts = {"kubeflow": "slipway-monitor", "vertex": "slipway-monitor@p.iam.gserviceaccount.com"}
    for target, account in accounts.items():
        monkeypatch.setenv(f"SLIPWAY_{target.upper()}__SERVICE_ACCOUNTS", json.dumps({"monitoring": account}))
    if request.param == "kubeflow":
        monkeypatch.setenv("SLIPWAY_KUBEFLOW__CLUSTER_ENDPOINT", fake.url)
    return prepare(request.param, fake, tmp_path / "runs")


def test_the_training_is_started_under_its_key_with_the_monitors_data(monitored: Monitored) -> None:
    said = monitored.step()
    [run] = monitored.started()
    assert monitored.titles == [NAME]
    if monitored.target == "kubeflow":
        assert run["service_account"] == "slipway-pipeline"
        given = run["runtime_config"]["parameters"]
    else:
        assert run["name"].endswith(f"/{NAME}")
        assert run["serviceAccount"].startswith("slipway-pipeline@")
        given = run["runtimeConfig"]["parameterValues"]
    assert given["data_uri"] == DATA
    assert given["window"] == 1
    assert given["epochs"] >= 1
    assert monitored.state == State(keys=[KEY])
    assert NAME in said
    assert [NAME in reason for reason in monitored.outcome().reasons] == [False, True]
    assert "http" in monitored.outcome().reasons[1]


def test_without_a_training_asked_for_nothing_is_sent(monitored: Monitored) -> None:
    change_state(storage.join(monitored.windows, "taxi"), lambda _: (None, State()))
    monitored.fake.requests.clear()
    assert NAME not in monitored.step()
    assert monitored.fake.requests == []


def test_submit_training_finds_what_was_started_and_not_confirmed(monitored: Monitored) -> None:
    monitored.step()
    for run in ("taxi-run-1", "taxi-run-2"):  # the same run again, and the next window's
        monitored.ask()
        assert NAME in monitored.step(run)
        assert monitored.titles == [NAME]
        assert monitored.state.pending == ""


@pytest.mark.parametrize(
    "moment", [pytest.param("find", marks=pytest.mark.slow), "start", pytest.param("confirm", marks=pytest.mark.slow)]
)
def test_a_step_that_is_killed_is_finished_by_its_retry(
    monitored: Monitored, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed for good, in a process of its own, before it asked, when it had asked, and before it confirmed."""
    where = {
        "find": f"slipway.platforms.{monitored.target}.{monitored.target.title()}Starter.find",
        "start": f"slipway.platforms.{monitored.target}.{monitored.target.title()}Starter._started",
        "confirm": "slipway.monitoring.claim.confirmed",
    }[moment]
    lineage = Lineage(run="taxi-run-1", module="taxi", module_digest="d", data_uri=DATA)
    context = RunContext(uri=str(monitored.folder / "taxi-run-1"), lineage=lineage).model_dump_json()
    script = f"""
import os, signal
from unittest.mock import patch
from components.submit_training.run import submit
from slipway.runs.record import RunContext
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with patch({where!r}, die):
    submit("taxi", {monitored.training_uri!r}, {monitored.windows!r}, {{"data_uri": {DATA!r}}},
           RunContext.model_validate_json({context!r}))
"""
    died = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert monitored.state.pending == KEY
    assert monitored.titles == ([] if moment == "find" else [NAME])
    assert "being submitted by taxi-run-1" in monitored.step("taxi-run-2")
    assert monitored.titles == ([] if moment == "find" else [NAME])
    assert NAME in monitored.step("taxi-run-1")
    assert monitored.titles == [NAME]
    assert monitored.state == State(keys=[KEY])


def test_the_next_monitor_finishes_what_a_dead_one_began(monitored: Monitored) -> None:
    monitored.ask(claim=Claim(by="taxi-run-1", at=time.time() - CLAIM_SECONDS - 1))
    assert NAME in monitored.step("taxi-run-2")
    assert monitored.titles == [NAME]


def test_two_monitors_at_once_start_one(monitored: Monitored) -> None:
    monitored.windows = str(
        monitored.folder / "windows"
    )  # the emulator takes no precondition; test_state.py has those of a bucket
    monitored.ask()
    said: list[str] = []
    both = threading.Barrier(2)

    def run(name: str) -> None:
        context = RunContext(
            uri=str(monitored.folder / name),
            lineage=Lineage(run=name, module="taxi", module_digest="d", data_uri=DATA),
        )
        both.wait()
        said.append(submit("taxi", monitored.training_uri, monitored.windows, {"data_uri": DATA}, context))

    threads = [threading.Thread(target=run, args=(f"taxi-run-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 2
    assert monitored.titles == [NAME]
    assert monitored.state.pending == ""


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_refusal_keeps_the_training_pending_and_names_the_fix(monitored: Monitored, status: int) -> None:
    monitored.fake.fail("POST", RUNS[monitored.target], status, times=9)
    with pytest.raises(TargetError) as error:
        monitored.step()
    named = {
        ("kubeflow", 401): "profiles",
        ("kubeflow", 403): r"answers 403.*`runs` of pipelines\.kubeflow\.org",
        ("kubeflow", 500): "tried 4 times",
        ("vertex", 401): "no valid Google credentials",
        ("vertex", 403): r"answers 403.*roles/aiplatform\.user.*roles/iam.serviceAccountUser on slipway-pipeline@",
        ("vertex", 500): "tried 4 times",
    }.get((monitored.target, status), "submit the monitor again")
    assert error.match(named)
    if status == 403:
        assert error.match("slipway-monitor")
    assert (monitored.state.pending, monitored.state.claim) == (KEY, None)
    monitored.fake.faults.clear()
    assert NAME in monitored.step("taxi-run-2"), "the next one, at once"


def test_a_lookup_that_fails_starts_nothing(monitored: Monitored) -> None:
    monitored.fake.fail("GET", RUNS[monitored.target] + ".*", 403, times=9)
    with pytest.raises(TargetError, match="look up"):
        monitored.step()
    assert monitored.titles == []
    assert monitored.state.pending == KEY


def test_an_answer_that_is_lost_or_late_starts_no_second_one(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.platforms.starter.TIMEOUT_SECONDS", 0.3)
    monitored.fake.hang("POST", RUNS[monitored.target], 1.0)
    assert NAME in monitored.step()
    assert monitored.titles == [NAME]
    monitored.ask()
    monitored.fake.runs = monitored.fake.jobs = {}
    monitored.fake.fail("POST", RUNS[monitored.target], 503, done=True)
    assert NAME in monitored.step()
    assert monitored.titles == [NAME]


def test_an_address_where_nobody_is_names_the_setting(monitored: Monitored) -> None:
    content = json.loads(storage.read_text(monitored.training_uri))
    storage.write_text(monitored.training_uri, json.dumps(content | {"url": "http://127.0.0.1:1"}))
    with pytest.raises(TargetError, match=r"127\.0\.0\.1:1.*(kubeflow\.cluster_endpoint|vertex\.endpoint)"):
        monitored.step()
    assert monitored.state.pending == KEY


def test_a_prepared_training_that_is_gone_or_damaged_says_so(monitored: Monitored) -> None:
    storage.write_text(monitored.training_uri, "{")
    with pytest.raises(StoreError, match=r"damaged.*submit the monitor again"):
        monitored.step()
    monitored.training_uri = monitored.training_uri.replace("training.json", "gone.json")
    with pytest.raises(StoreError, match=r"no such file"):
        monitored.step()
    assert (monitored.state.pending, monitored.state.claim) == (KEY, None)


def test_a_failure_releases_the_claim_of_its_own_only(monitored: Monitored) -> None:
    def overtaken() -> None:
        with claimed(storage.join(monitored.windows, "taxi"), "a") as claim:
            assert claim.key == KEY
            monitored.ask(claim=Claim(by="b", at=1.0))  # took over meanwhile
            raise KeyError

    with pytest.raises(KeyError):
        overtaken()
    assert monitored.state.claim == Claim(by="b", at=1.0)


def test_the_pods_token_goes_to_kubeflow_with_each_request(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__CLUSTER_ENDPOINT", kubeflow.url)
    monitored = prepare("kubeflow", kubeflow, tmp_path)
    kubeflow.token = "projected"
    with pytest.raises(TargetError, match="answers 401"):
        monitored.step()
    (tmp_path / "token").write_text("projected\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert NAME in monitored.step()
    assert "projected" not in storage.read_text(monitored.training_uri)


def test_of_two_runs_with_the_name_the_oldest_is_the_training(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__CLUSTER_ENDPOINT", kubeflow.url)
    monitored = prepare("kubeflow", kubeflow, tmp_path)
    monitored.step()
    [first] = kubeflow.runs
    kubeflow.runs["second"] = kubeflow.runs[first] | {"run_id": "second", "created_at": "2027-01-01T00:00:00Z"}
    monitored.ask()
    assert first in monitored.step("taxi-run-2")
    assert monitored.state.pending == ""
