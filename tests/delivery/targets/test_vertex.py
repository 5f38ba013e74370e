import json
import socket
from pathlib import Path
from typing import Any

import pytest

from delivery.schedules import apply
from delivery.targets.base import wait
from delivery.targets.vertex import VertexTarget
from slipway.errors import ConfigError, TargetError
from slipway.runs.naming import JOB, name_run
from slipway.runs.record import Step
from slipway.runs.states import State
from tests.delivery.targets.places import ROOT, on_vertex
from tests.delivery.targets.submissions import recurring, submission
from tests.fakes.loopback_server import Answer
from tests.fakes.vertex import FakeVertex
from tests.fakes.vertex.server import LOCATION, PROJECT

JOBS = f"/v1/projects/{PROJECT}/locations/{LOCATION}/pipelineJobs"
KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
NETWORK = "projects/123/global/networks/vpc"
ATTACHMENT = f"projects/hub/regions/{LOCATION}/networkAttachments/vertex"


def test_submit_sends_the_whole_job_with_one_request(vertex: FakeVertex) -> None:
    wanted = submission("vertex")
    target = on_vertex(
        vertex, service_account="trainer@p.iam.gserviceaccount.com", network=NETWORK, encryption_key=KEY,
        labels={"team": "growth"},
    )  # fmt: skip
    run = target.submit(wanted)
    assert [str(one) for one in vertex.requests] == [f"POST {JOBS}"]
    job = vertex.jobs[wanted.name]
    assert job["runtimeConfig"]["parameterValues"] == wanted.arguments
    assert job["runtimeConfig"]["gcsOutputDirectory"] == ROOT
    assert job["labels"] == wanted.labels("staging") | {"team": "growth"}
    assert (job["serviceAccount"], job["network"]) == ("trainer@p.iam.gserviceaccount.com", NETWORK)
    assert job["encryptionSpec"] == {"kmsKeyName": KEY}
    assert run.url == (
        f"https://console.cloud.google.com/vertex-ai/locations/{LOCATION}/pipelines/runs/{wanted.name}?project={PROJECT}"
    )


def test_submit_without_network_and_key_names_none(vertex: FakeVertex) -> None:
    wanted = submission("vertex")
    on_vertex(vertex).submit(wanted)
    unset = {"network", "pscInterfaceConfig", "encryptionSpec", "serviceAccount"}
    assert not unset & set(vertex.jobs[wanted.name])


def test_network_attachment_is_that_of_runs_and_schedules(vertex: FakeVertex) -> None:
    wanted = submission("vertex")
    target = on_vertex(vertex, network_attachment=ATTACHMENT)
    target.submit(wanted)
    apply([recurring("vertex")], target.schedules, lambda action: None)
    [schedule] = vertex.schedules.values()
    for job in (vertex.jobs[wanted.name], schedule["createPipelineJobRequest"]["pipelineJob"]):
        assert job["pscInterfaceConfig"] == {"networkAttachment": ATTACHMENT}
        assert "network" not in job


@pytest.fixture
def nightly(vertex: FakeVertex) -> tuple[VertexTarget, str]:
    """A target with a schedule that was changed once, and the schedule's key on the server."""
    target = on_vertex(vertex)
    for limit in (1, 2):
        apply([recurring("vertex", max_concurrency=limit)], target.schedules, lambda action: None)
    [key] = vertex.schedules
    return target, key


def test_schedule_limits_the_runs_under_way(vertex: FakeVertex, nightly: tuple[VertexTarget, str]) -> None:
    target, key = nightly
    started = [vertex.fire(key) for _ in range(3)]
    assert [bool(one) for one in started] == [True, True, False]
    vertex.plan = ["SUCCEEDED"]
    target.show(str(started[0]))
    assert vertex.fire(key)


def test_scheduled_runs_are_found_by_the_name_of_their_schedule(
    vertex: FakeVertex, nightly: tuple[VertexTarget, str]
) -> None:
    target, key = nightly
    vertex.plan = ["RUNNING"]
    older, newer = (str(vertex.fire(key)) for _ in range(2))
    assert target.show("nightly").id == newer
    assert target.show(older).id == older
    assert [(one.id, one.title) for one in target.list(5)] == [(newer, "nightly"), (older, "nightly")]
    assert list(target.logs("nightly", "train_model")) == ["first of 105", "last of 105"]
    assert target.cancel("nightly").id == newer
    for unknown in ("weekly", 'x" OR labels.y="'):
        with pytest.raises(TargetError, match="there is no run"):
            target.show(unknown)
    with pytest.raises(TargetError, match="no run 'nightly'"):
        on_vertex(vertex, "production").show("nightly")


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_submit_whose_answer_fails_starts_one_run(
    vertex: FakeVertex, pauses: list[float], status: int, done: bool
) -> None:
    vertex.fail("POST", JOBS, status, done=done)
    run = on_vertex(vertex).submit(submission("vertex"))
    assert list(vertex.jobs) == [run.id]
    assert len(vertex.asked("POST", JOBS)) == (1 if done else 2)
    assert pauses == [1.0]


def test_submit_whose_answer_comes_too_late_starts_one_run(vertex: FakeVertex) -> None:
    vertex.hang("POST", JOBS, 0.6)
    run = on_vertex(vertex, timeout_seconds=0.3).submit(submission("vertex"))
    assert list(vertex.jobs) == [run.id]


def test_submit_whose_first_attempt_is_seen_late_takes_that_one(vertex: FakeVertex) -> None:
    wanted = submission("vertex")
    vertex.fail("POST", JOBS, 503, done=True)
    vertex.fail("GET", f"{JOBS}/.*", 404)  # not visible yet when it is looked for
    assert on_vertex(vertex).submit(wanted).id == wanted.name
    assert len(vertex.asked("POST", JOBS)) == 2
    assert len(vertex.jobs) == 1


@pytest.mark.parametrize(
    ("said", "state"), [("SUCCEEDED", "succeeded"), ("FAILED", "failed"), ("CANCELLED", "cancelled")]
)
def test_wait_ends_with_the_run(vertex: FakeVertex, said: str, state: State) -> None:
    vertex.plan = ["PENDING", "RUNNING", said]
    target = on_vertex(vertex)
    seen: list[list[Step]] = []
    run = wait(target, target.submit(submission("vertex")).id, lambda found: seen.append(found.steps))
    assert run.state == state
    assert [step.name for step in seen[1]] == ["resolve_source", "ingest_examples", "train_model"]
    assert seen[1][2].state == "running"
    assert [step.cached for step in seen[1]] == [False, True, False]
    assert seen[-1][2].state == ("succeeded" if state == "succeeded" else "failed")
    assert ("[train-model]" in run.error) == (state == "failed")


def test_list_is_of_the_environments_runs_only(vertex: FakeVertex) -> None:
    run = on_vertex(vertex).submit(submission("vertex"))
    on_vertex(vertex, "production").submit(submission("vertex"))
    assert [one.id for one in on_vertex(vertex).list(5)] == [run.id]


def test_list_is_newest_first_and_of_slipways_runs_only(vertex: FakeVertex) -> None:
    target = on_vertex(vertex)
    assert target.list(5) == []
    runs = [target.submit(submission("vertex")) for _ in range(3)]
    vertex.jobs["other"] = vertex.jobs[runs[0].id] | {"labels": {}}
    vertex.page_size = 1
    assert [one.id for one in target.list(2)] == [runs[2].id, runs[1].id]


def test_show_unknown_says_what_lists_them(vertex: FakeVertex) -> None:
    with pytest.raises(TargetError, match=r"no run 'taxi-1' in projects/.*`slipway runs list --target vertex`"):
        on_vertex(vertex).show("taxi-1")


def test_logs_follow_all_pages_and_say_which_step_was_cached(vertex: FakeVertex) -> None:
    target = on_vertex(vertex)
    run = target.submit(submission("vertex"))
    assert list(target.logs(run.name, None)) == [
        "resolve_source: first of 103",
        "resolve_source: last of 103",
        "ingest_examples: (no log: the step came from the cache)",
        "train_model: first of 105",
        "train_model: last of 105",
    ]
    assert list(target.logs(run.name, "train_model")) == ["first of 105", "last of 105"]
    with pytest.raises(TargetError, match="no step 'push_model' yet"):
        list(target.logs(run.name, "push_model"))


def test_run_that_is_being_cancelled_is_not_cancelled_again(vertex: FakeVertex) -> None:
    target = on_vertex(vertex)
    job = vertex.jobs[target.submit(submission("vertex")).id]
    cancelling = job | {"state": "PIPELINE_STATE_CANCELLING"}
    vertex.answer("GET", f"{JOBS}/.*", Answer(200, json.dumps(cancelling).encode()))
    target.cancel(job["name"].rpartition("/")[2])
    assert not vertex.asked("POST", ".*:cancel")


def test_cancel_asks_for_the_end(vertex: FakeVertex) -> None:
    vertex.plan = ["RUNNING"]
    target = on_vertex(vertex)
    run = target.submit(submission("vertex"))
    assert target.cancel(run.name).state == "cancelled"
    with pytest.raises(TargetError, match=f"{run.name} has ended already: cancelled"):
        target.cancel(run.name)


@pytest.mark.parametrize(
    ("status", "attempts", "said"),
    [
        (400, 1, r"compare vertex\.\* in settings/<environment>\.yaml"),
        (401, 1, "gcloud auth application-default login"),
        (403, 1, r"roles/aiplatform\.user in the project project-1, roles/iam\.serviceAccountUser on sa@p"),
        (404, 1, r"is it in vertex\.project = 'project-1' and vertex\.location = 'europe-west4'"),
        (429, 4, "the project's quota is used up: https://console"),
        (500, 4, r"tried 4 times in .*see https://status\.cloud"),
    ],
)  # fmt: skip
def test_failure_names_the_fix_and_is_retried_if_it_passes(
    vertex: FakeVertex, status: int, attempts: int, said: str
) -> None:
    vertex.fail("GET", JOBS, status, times=9)
    with pytest.raises(TargetError, match=said) as raised:
        on_vertex(vertex, service_account="sa@p").list(1)
    # google-auth answers a 401 by renewing the credentials, of which there are none here.
    assert (f"made to answer {status}" if status != 401 else "InvalidOperation") in str(raised.value)
    assert len(vertex.requests) == attempts


def test_submit_that_finds_another_job_of_its_name_in_the_way_says_so(vertex: FakeVertex) -> None:
    vertex.fail("POST", JOBS, 409)
    with pytest.raises(TargetError, match=r"409.*try again"):
        on_vertex(vertex).submit(submission("vertex"))


def test_time_out_names_the_setting(vertex: FakeVertex) -> None:
    vertex.hang("GET", JOBS, 0.6, times=9)
    with pytest.raises(TargetError, match=r"0\.3 s.*vertex\.timeout_seconds"):
        on_vertex(vertex, timeout_seconds=0.3).list(1)


def test_no_server_names_the_settings(vertex: FakeVertex) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TargetError, match=r"no connection to .*vertex\.location = 'europe-west4'.*vertex\.endpoint"):
        on_vertex(vertex, endpoint=f"http://127.0.0.1:{port}").list(1)


def test_other_service_at_the_endpoint_is_recognised(vertex: FakeVertex) -> None:
    vertex.answer("GET", JOBS, Answer(200, b"<html>hello</html>", "text/html"))
    with pytest.raises(TargetError, match=r"Vertex AI.*vertex\.endpoint"):
        on_vertex(vertex).list(1)


def test_no_credentials_says_how_to_get_some(
    vertex: FakeVertex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(
        TargetError,
        match=r"DefaultCredentialsError.*`gcloud auth",
    ):
        on_vertex(vertex, endpoint="").list(1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"project": ""}, r"vertex\.project is not set: add vertex: \{project: my-project\} to settings"),
        ({"location": ""}, r"vertex\.location is not set"),
        ({"pipeline_root": ""}, r"vertex\.pipeline_root is not set"),
        ({"pipeline_root": "/tmp/x"}, r"vertex\.pipeline_root = '/tmp/x': Vertex wants it as gs://BUCKET/PATH"),
        ({"network": "vpc"}, r"vertex\.network = 'vpc': Vertex wants it as projects/NUMBER/global/networks/NAME"),
        ({"network_attachment": "a"}, r"vertex\.network_attachment = 'a': Vertex wants it as projects/P/regions/R/net"),
        ({"network_attachment": ATTACHMENT, "network": NETWORK}, r"vertex\.network and vertex\.network_attachment"),
        (
            {"network_attachment": ATTACHMENT.replace(LOCATION, "us-east1")},
            r"region .*vertex\.location = 'europe-west4'",
        ),
        ({"encryption_key": "k"}, r"vertex\.encryption_key = 'k': Vertex wants it as projects/P/locations/L/keyRings"),
        ({"labels": {"Team": "x"}}, r"vertex\.labels: Team: 'x' is no label"),
    ],
)
def test_config_that_lacks_something_names_the_setting(vertex: FakeVertex, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        on_vertex(vertex, **changes)


def test_run_is_called_as_its_record(vertex: FakeVertex) -> None:
    wanted = submission("vertex")
    target = on_vertex(vertex)
    run = target.submit(wanted)
    named = name_run(wanted.package.run.model_dump_json(), vertex.jobs[run.id]["name"], "2026-01-02T03:04:05Z")
    assert named.lineage.run == run.name == run.id
    assert named.uri == f"gs://bucket/runs/{run.name}"
    assert target.page(JOB).replace(JOB, run.id) == run.url


@pytest.mark.filterwarnings("ignore:Unrecognized PipelineState enum value")
def test_state_that_nobody_knows_is_unknown_and_ends_with_its_time(vertex: FakeVertex) -> None:
    target = on_vertex(vertex)
    run = target.submit(submission("vertex"))
    for end in ({}, {"endTime": "2026-01-02T03:04:05Z"}):
        vertex.answer("GET", f"{JOBS}/.*", Answer(200, json.dumps({"name": run.id, "state": 99, **end}).encode()))
    assert (wait(target, run.id, lambda steps: None).state, len(vertex.asked("GET", f"{JOBS}/.*"))) == ("unknown", 2)
