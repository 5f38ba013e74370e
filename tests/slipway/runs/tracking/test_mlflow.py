"""Runs and versions in MLflow: the same tests against the fake, and against real servers in CI."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests

from slipway.errors import TrackingError
from slipway.runs.notes import Notes
from slipway.runs.store import load_run
from slipway.runs.tracking.config import Tracked
from slipway.runs.tracking.mlflow import MlflowTracker, metric_name
from slipway.runs.tracking.track import tracked_run
from slipway.runs.tracking.tracker import Point, TrackedRun, TrackedVersion
from tests.fakes.mlflow import Mlflow
from tests.recorded_runs import write_run
from tests.slipway.runs.tracking.servers import real_server

Json = dict[str, Any]
SHAPE = TrackedRun(
    name="shape-1", state="succeeded", started=1_750_000_000.5, finished=1_750_000_020.5, parameters={}, metrics=[],
    tags={"slipway.verdict": "pushed"}, files={},
)  # fmt: skip


@dataclass
class Server:
    """What a server holds, asked without our client."""

    url: str

    def get(self, path: str, **query: str) -> Json:
        return self._json(requests.get(f"{self.url}/api/2.0/mlflow/{path}", params=query, timeout=60))

    def runs(self, experiment: str) -> list[Json]:
        owner = self.get("experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
        name = f"{experiment.partition('-')[0]}-1"
        found = requests.post(
            f"{self.url}/api/2.0/mlflow/runs/search",
            json={"experiment_ids": [owner], "filter": f"tags.`slipway.run` = '{name}'", "max_results": 100},
            timeout=60,
        )
        runs: list[Json] = self._json(found).get("runs", [])
        return runs

    def tracker(self) -> MlflowTracker:
        return MlflowTracker(Tracked(uri=self.url, environment="staging"), time.monotonic() + 100)

    def _json(self, answer: requests.Response) -> Json:
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body


@pytest.fixture(
    scope="module", params=["fake", *(pytest.param(one, marks=pytest.mark.slow) for one in ("sqlite", "postgresql"))]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "fake":
        with Mlflow() as fake:
            yield Server(fake.url)
    else:
        with real_server(request.param) as url:
            yield Server(url)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    home = tmp_path_factory.mktemp("home")
    write_run(home, "taxi-1", "pushed")
    return tracked_run(load_run(home / "runs", "taxi-1"))


def entries(run: Json, kind: str) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in run["data"].get(kind, [])}


def test_run_is_written_with_all_that_is_known_of_it(server: Server, run: TrackedRun) -> None:
    assert not server.tracker().has_run("taxi-known", run)
    server.tracker().write_run("taxi-known", run)
    [found] = server.runs("taxi-known")
    assert (found["info"]["run_name"], found["info"]["status"]) == ("taxi-1", "FINISHED")
    assert (found["info"]["start_time"], found["info"]["end_time"]) == (1_750_000_000_000, 1_750_000_020_000)
    metrics, params, tags = (entries(found, kind) for kind in ("metrics", "params", "tags"))
    assert (metrics["auc"], metrics["auc/payment_type: Cash"]) == (0.956, 0.912)
    assert metrics["auc/payment_type: -missing-"] == "NaN"
    assert params == {"hyperparameters.learning_rate": "0.001", "seed": "42", "epochs": "6"}
    assert tags["slipway.run"] == "taxi-1"
    assert tags["slipway.data_digest"] == "ef" * 32
    assert (tags["slipway.target"], tags["slipway.verdict"]) == ("local", "pushed")
    assert tags["slipway.revision"].startswith("c0ffee")
    assert server.tracker().has_run("taxi-known", run)


def test_run_has_its_training_curve_by_epoch(server: Server, run: TrackedRun) -> None:
    server.tracker().write_run("taxi-curve", run)
    [found] = server.runs("taxi-curve")
    last = next(one for one in found["data"]["metrics"] if one["key"] == "training/loss")
    assert last["step"] == 6


def test_run_written_twice_is_there_once(server: Server, run: TrackedRun) -> None:
    server.tracker().write_run("taxi-twice", run)
    server.tracker().write_run("taxi-twice", run)
    assert len(server.runs("taxi-twice")) == 1


def test_run_with_another_end_is_not_known_until_it_is_written_again(server: Server, run: TrackedRun) -> None:
    failed = replace(run, state="failed", tags={**run.tags, "slipway.verdict": "none"})
    server.tracker().write_run("taxi-retried", failed)
    assert server.runs("taxi-retried")[0]["info"]["status"] == "FAILED"
    assert not server.tracker().has_run("taxi-retried", run)
    server.tracker().write_run("taxi-retried", run)
    [found] = server.runs("taxi-retried")
    assert (found["info"]["status"], entries(found, "tags")["slipway.verdict"]) == ("FINISHED", "pushed")
    assert server.tracker().has_run("taxi-retried", run)


def test_tags_and_the_note_of_people_follow_the_record(server: Server, run: TrackedRun) -> None:
    def write(**tags: str) -> dict[str, Any]:
        changed = replace(run, given=Notes(tags=tags, note=tags.pop("note", "")))
        assert not server.tracker().has_run("taxi-noted", changed)
        for _ in range(2):
            server.tracker().write_run("taxi-noted", changed)
            assert server.tracker().has_run("taxi-noted", changed)
        [found] = server.runs("taxi-noted")
        return entries(found, "tags")

    tags = write(owner="ann", ticket="T-1", note="a note\n" + "x" * 9_000)
    assert (tags["owner"], tags["ticket"]) == ("ann", "T-1")
    assert tags["mlflow.note.content"].startswith("a note\nxxx")
    [found] = server.runs("taxi-noted")
    # What was tagged in MLflow stays.
    theirs = {"run_id": found["info"]["run_id"], "key": "theirs", "value": "1"}
    assert requests.post(f"{server.url}/api/2.0/mlflow/runs/set-tag", json=theirs, timeout=60).status_code == 200
    tags = write(ticket="T-2")
    assert (tags["ticket"], tags["theirs"]) == ("T-2", "1")
    assert not {"owner", "mlflow.note.content"} & tags.keys()
    assert not {"ticket", "slipway.tags"} & write().keys()


def test_run_with_more_than_a_call_takes_is_written_whole(server: Server) -> None:
    points = [Point(f"auc/company: {number}", number / 3000, 0, 1_750_000_000) for number in range(2_300)]
    parameters = {f"p{number}": str(number) for number in range(150)}
    server.tracker().write_run("shape-many", replace(SHAPE, metrics=points, parameters=parameters))
    [found] = server.runs("shape-many")
    assert (len(entries(found, "metrics")), len(entries(found, "params"))) == (2_300, 150)


@pytest.mark.parametrize(
    "name",
    ["auc/company: A&B", "auc/x: a=b", "auc/x: ..", "a/../b", "/a", "a/", "a//b", ".", "auc/x: \n", "auc/é: ü",
     "x" * 300, "auc/x: \t", "", "auc/x: <b>", "auc/x: 1/2", "%", "auc/x: " + "é" * 300],
)  # fmt: skip
def test_run_with_any_name_of_a_slice_is_taken(server: Server, name: str) -> None:
    point = Point(name, 0.5, 0, 1_750_000_000)
    server.tracker().write_run(f"shape-{metric_name(name)[:40].encode().hex()}", replace(SHAPE, metrics=[point]))


def test_names_that_are_replaced_stay_apart() -> None:
    names = ["auc/x: A&B", "auc/x: A+B", "auc/x: A_B", "y" * 300, "y" * 301]
    assert len({metric_name(name) for name in names}) == len(names)
    assert metric_name("auc/payment_type: Credit Card") == "auc/payment_type: Credit Card"


def test_run_with_long_and_odd_values_is_taken_and_says_where_it_was_cut(server: Server) -> None:
    points = [Point(name, value, 0, 1_750_000_000) for name, value in (("a", math.inf), ("b", -math.inf), ("c", 1e300))]
    long = replace(SHAPE, metrics=points, parameters={"p": "x" * 7_000}, tags={**SHAPE.tags, "t": "y" * 9_000})
    server.tracker().write_run("shape-long", long)
    server.tracker().write_run("shape-long", long)  # a parameter cannot be changed
    [found] = server.runs("shape-long")
    assert entries(found, "params")["p"] == "x" * 5_999 + "…"
    assert entries(found, "tags")["t"] == "y" * 7_999 + "…"


def test_run_has_its_report_and_its_training_log(server: Server, run: TrackedRun) -> None:
    assert {"report.html", "training_log/history.json"} == run.files.keys()
    server.tracker().write_run("taxi-files", run)
    # Written again, a file replaces the one before.
    again = {"report.html": b"<p>again", "training_log/history.json": run.files["training_log/history.json"]}
    server.tracker().write_run("taxi-files", replace(run, files=again))
    place = server.runs("taxi-files")[0]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for name, content in again.items():
        address = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{place}/{name}"
        assert requests.get(address, timeout=60).content == content


def version(number: int, stage: str) -> TrackedVersion:
    return TrackedVersion(number, f"gs://bucket/models/taxi/{number}", "taxi-1", stage, {"slipway.model_digest": "ab"})


def registered(server: Server, model: str) -> tuple[dict[str, str], dict[str, str]]:
    """Stages by version of Slipway's, and versions by alias."""
    stages: dict[str, str] = {}
    numbers: dict[str, str] = {}
    token: dict[str, str] = {}
    while True:
        page = server.get("model-versions/search", filter=f"name='{model}'", max_results="100", **token)
        for one in page.get("model_versions", []):
            tags = {tag["key"]: tag["value"] for tag in one["tags"]}
            stages[tags["slipway.version"]] = tags["slipway.stage"]
            numbers[one["version"]] = tags["slipway.version"]
        if not page.get("next_page_token"):
            break
        token = {"page_token": page["next_page_token"]}
    aliases = server.get("registered-models/get", name=model)["registered_model"].get("aliases", [])
    return stages, {one["alias"]: numbers[one["version"]] for one in aliases}


def test_versions_stages_and_aliases_follow_the_store(server: Server, run: TrackedRun) -> None:
    server.tracker().write_run("taxi-registry", run)
    pinned: dict[str, int | None] = {"production": 2, "canary": 3}
    versions = [version(1, "retired"), version(2, "production"), version(3, "canary")]
    for _ in range(2):
        server.tracker().write_versions("taxi-registry", versions, pinned)
    assert registered(server, "taxi-registry") == (
        {"1": "retired", "2": "production", "3": "canary"},
        {"production": "2", "canary": "3"},
    )
    server.tracker().write_versions(
        "taxi-registry", [version(2, "retired"), version(3, "production")], {"production": 3, "canary": None}
    )
    assert registered(server, "taxi-registry") == (
        {"1": "deleted", "2": "retired", "3": "production"},
        {"production": "3"},
    )
    [latest] = server.get("model-versions/search", filter="name='taxi-registry'", max_results="1")["model_versions"]
    assert latest["source"] == "gs://bucket/models/taxi/3"
    assert latest["run_id"] == server.runs("taxi-registry")[0]["info"]["run_id"]


def test_versions_of_a_run_that_is_not_tracked_are_registered(server: Server) -> None:
    server.tracker().write_versions("taxi-alone", [version(1, "production")], {"production": 1, "canary": None})
    assert registered(server, "taxi-alone") == ({"1": "production"}, {"production": "1"})


def test_model_without_versions_is_not_registered(server: Server) -> None:
    server.tracker().write_versions("taxi-none", [], {"production": None, "canary": None})
    assert (
        requests.get(f"{server.url}/api/2.0/mlflow/registered-models/get?name=taxi-none", timeout=60).status_code == 404
    )


def test_host_that_the_server_does_not_allow_is_named_with_the_flag(server: Server) -> None:
    other = Server(server.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(TrackingError, match=r"403.*--allowed-hosts"):
        other.tracker().has_run("taxi", SHAPE)
