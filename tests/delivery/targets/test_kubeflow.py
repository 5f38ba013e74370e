import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.targets.base import Submission, wait
from slipway.errors import TargetError
from slipway.runs.naming import name_run
from slipway.runs.record import Step
from slipway.runs.states import State
from tests.compiled.specs import GOLDEN
from tests.delivery.targets.places import ROOT, on_kubeflow
from tests.delivery.targets.submissions import submission
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.loopback_server import Answer

API = "/apis/v2beta1"
UPLOAD = f"{API}/pipelines/upload_version"


def test_submit_uploads_the_pipeline_and_starts_the_run(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow, service_account="trainer")
    wanted = submission("kubeflow")
    run = target.submit(wanted)
    assert [str(one) for one in kubeflow.requests] == [
        f"GET {API}/healthz",
        f"GET {API}/experiments",
        f"POST {API}/experiments",
        f"GET {API}/pipelines",
        f"POST {API}/pipelines",
        f"GET {API}/pipelines/{next(iter(kubeflow.pipelines))}/versions",
        f"POST {UPLOAD}",
        f"POST {API}/runs",
    ]
    kept = kubeflow.runs[run.id]
    assert kept["runtime_config"] == {"parameters": wanted.arguments, "pipeline_root": ROOT}
    assert (kept["display_name"], kept["service_account"]) == (wanted.name, "trainer")
    assert (run.name, run.state, run.url) == (f"taxi-{run.id}", "pending", f"{kubeflow.url}/#/runs/details/{run.id}")


def test_submit_labels_the_run_within_what_its_database_keeps(kubeflow: FakeKubeflow) -> None:
    wanted = submission("kubeflow")
    run = on_kubeflow(kubeflow).submit(wanted)
    assert run.labels == {key: value for key, value in wanted.labels("staging").items() if key != "pipeline-digest"}
    assert run.labels["module-digest"] == wanted.lineage.module_digest[:24]
    assert run.labels["environment"] == "staging"
    assert len(kubeflow.runs[run.id]["description"]) < 255


def test_submit_names_describes_and_tags_all_that_it_makes(kubeflow: FakeKubeflow) -> None:
    wanted = submission("kubeflow")
    run = on_kubeflow(kubeflow).submit(wanted)
    [pipeline], [version], [experiment] = (
        [*kept.values()] for kept in (kubeflow.pipelines, kubeflow.versions, kubeflow.experiments)
    )
    assert (pipeline["description"], pipeline["tags"]) == (
        "From raw data to a served model.",
        {"managed-by": "slipway"},
    )
    assert version["display_name"] == f"taxi-{wanted.package.digest[:12]}-{'2' * 12}"
    assert version["tags"] == wanted.labels("staging")
    assert all(f"{key}: {value}" in version["description"] for key, value in version["tags"].items())
    assert experiment["display_name"] == "taxi-staging"
    assert "taxi" in experiment["description"]
    title = kubeflow.runs[run.id]["display_name"]
    assert (title.partition("-")[0], title.rpartition("-")[2]) == ("taxi", "2222222")


def of_module(name: str, revision: str = "2" * 40) -> Submission:
    wanted = submission("kubeflow")
    return replace(wanted, lineage=wanted.lineage.model_copy(update={"module": name, "git_revision": revision}))


def test_version_of_the_longest_module_fits_its_column(kubeflow: FakeKubeflow) -> None:
    on_kubeflow(kubeflow).submit(of_module("m" * 63, f"{'2' * 40}-dirty"))
    [version] = kubeflow.versions.values()
    assert len(version["display_name"]) <= 127
    assert version["display_name"].endswith("-222222222222-dirty")


def test_run_of_a_module_whose_name_is_no_label_is_called_as_its_record(kubeflow: FakeKubeflow) -> None:
    run = on_kubeflow(kubeflow).submit(of_module("taxi_"))
    assert run.name == f"taxi_-{run.id}"


def test_experiment_is_of_module_and_environment_and_list_reads_all_of_the_environment(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    runs = [target.submit(of_module(name)) for name in ("taxi", "churn", "taxi")]
    on_kubeflow(kubeflow, "production").submit(of_module("taxi"))
    names = {one["display_name"] for one in kubeflow.experiments.values()}
    assert names == {"taxi-staging", "churn-staging", "taxi-production"}
    assert [run.id for run in target.list(2)] == [runs[2].id, runs[1].id]
    assert [run.id for run in target.list(9)] == [run.id for run in reversed(runs)]


def test_experiment_of_the_settings_takes_the_runs_of_all_modules(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow, experiment="trips")
    runs = [target.submit(of_module(name)) for name in ("taxi", "churn")]
    assert [one["display_name"] for one in kubeflow.experiments.values()] == ["trips"]
    assert [run.id for run in target.list(9)] == [run.id for run in reversed(runs)]


def test_submit_again_uploads_nothing(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    target.submit(submission("kubeflow"))
    target.submit(submission("kubeflow"))
    assert len(kubeflow.asked("POST", UPLOAD)) == len(kubeflow.versions) == 1
    assert len(kubeflow.runs) == 2


def test_submit_another_layout_of_the_same_pipeline_uploads_nothing(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    import yaml

    target = on_kubeflow(kubeflow)
    target.submit(submission("kubeflow"))
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump_all(yaml.safe_load_all(GOLDEN.read_text()), width=200))
    target.submit(submission("kubeflow", package=other))
    assert len(kubeflow.versions) == 1


def test_submit_twice_at_once_makes_each_thing_once(kubeflow: FakeKubeflow) -> None:
    wanted = [submission("kubeflow") for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        runs = list(threads.map(lambda one: on_kubeflow(kubeflow).submit(one), wanted))
    assert {run.id for run in runs} == set(kubeflow.runs)
    assert len(kubeflow.runs) == 4
    assert len(kubeflow.experiments) == len(kubeflow.pipelines) == len(kubeflow.versions) == 1


@pytest.mark.parametrize("what", ["experiments", "pipelines", "pipelines/[^/]+/versions"])
def test_submit_where_another_was_faster_takes_what_that_made(kubeflow: FakeKubeflow, what: str) -> None:
    target = on_kubeflow(kubeflow)
    target.submit(submission("kubeflow"))
    kubeflow.answer("GET", f"{API}/{what}", Answer(200, b"{}"))  # it was not there yet a moment ago
    target.submit(submission("kubeflow"))
    assert len(kubeflow.runs) == 2
    assert len(kubeflow.experiments) == len(kubeflow.pipelines) == len(kubeflow.versions) == 1


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_submit_whose_answer_fails_starts_one_run(
    kubeflow: FakeKubeflow, pauses: list[float], status: int, done: bool
) -> None:
    kubeflow.fail("POST", f"{API}/runs", status, done=done)
    run = on_kubeflow(kubeflow).submit(submission("kubeflow"))
    assert list(kubeflow.runs) == [run.id]
    assert len(kubeflow.asked("POST", f"{API}/runs")) == (1 if done else 2)
    assert pauses == [1.0]


def test_submit_whose_answer_comes_too_late_starts_one_run(kubeflow: FakeKubeflow) -> None:
    kubeflow.hang("POST", f"{API}/runs", 0.6)
    run = on_kubeflow(kubeflow, timeout_seconds=0.3).submit(submission("kubeflow"))
    assert list(kubeflow.runs) == [run.id]


def test_submit_whose_upload_is_answered_too_late_uploads_once(kubeflow: FakeKubeflow) -> None:
    kubeflow.hang("POST", UPLOAD, 0.6)
    on_kubeflow(kubeflow, timeout_seconds=0.3).submit(submission("kubeflow"))
    assert len(kubeflow.asked("POST", UPLOAD)) == len(kubeflow.versions) == 1


def test_submit_in_a_multi_user_installation_names_the_namespace() -> None:
    with FakeKubeflow(multi_user=True) as server:
        on_kubeflow(server, namespace="team-a").submit(submission("kubeflow"))
        assert {one["namespace"] for one in [*server.experiments.values(), *server.pipelines.values()]} == {"team-a"}


def test_submit_in_a_single_user_installation_names_no_namespace(kubeflow: FakeKubeflow) -> None:
    on_kubeflow(kubeflow, namespace="team-a").submit(submission("kubeflow"))
    assert "namespace" not in next(iter(kubeflow.experiments.values()))


def test_submission_of_a_field_that_the_package_has_not_is_refused() -> None:
    wanted = submission("kubeflow")
    with pytest.raises(TargetError, match=r"training\.yaml.*it takes no least"):
        replace(wanted, arguments=wanted.arguments | {"least": 1})


@pytest.mark.parametrize(("said", "state"), [("SUCCEEDED", "succeeded"), ("FAILED", "failed")])
def test_wait_ends_with_the_run(kubeflow: FakeKubeflow, said: str, state: State) -> None:
    kubeflow.plan = ["PENDING", "RUNNING", said]
    target = on_kubeflow(kubeflow)
    seen: list[list[Step]] = []
    run = wait(target, target.submit(submission("kubeflow")).id, lambda found: seen.append(found.steps))
    assert run.state == state
    assert seen[0] == []
    assert [(step.name, step.state) for step in seen[1]] == [
        ("resolve_source", "succeeded"),
        ("train_model", "running"),
    ]
    assert [(step.name, step.state) for step in seen[2]] == [
        ("resolve_source", "succeeded"),
        ("train_model", state),
        ("record_run", "succeeded"),
    ]
    assert seen[1][0].seconds == 20.0


def test_wait_survives_a_server_that_restarts(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    run = target.submit(submission("kubeflow"))
    kubeflow.fail("GET", f"{API}/runs/.*", 503, times=3)
    assert wait(target, run.id, lambda found: None).state == "succeeded"


def test_show_finds_a_run_by_name_and_by_id(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    wanted = submission("kubeflow")
    run = target.submit(wanted)
    assert {target.show(name).id for name in (run.name, run.id, wanted.name)} == {run.id}


def clone(kubeflow: FakeKubeflow, run_id: str, name: str) -> str:
    """Does as the UI for "Clone run": same version and arguments, no description (frontend/src/pages/NewRunV2.tsx)."""
    first = kubeflow.runs[run_id]
    kept = {key: first[key] for key in ("experiment_id", "pipeline_version_reference", "runtime_config")}
    body = json.dumps(kept | {"display_name": name, "description": ""}).encode()
    request = urllib.request.Request(f"{kubeflow.url}{API}/runs", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["run_id"])


def test_clone_is_a_run_of_its_own(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    wanted = submission("kubeflow")
    first = target.submit(wanted)
    second = target.show(clone(kubeflow, first.id, f"Clone of {wanted.name}"))
    assert (first.name, second.name) == (f"taxi-{first.id}", f"taxi-{second.id}")
    assert (second.labels["module"], second.labels["environment"]) == ("taxi", "staging")
    assert target.show(second.name).id == second.id
    for run in (first, second):
        named = name_run(wanted.package.run.model_dump_json(), run.id, "")
        assert (named.lineage.run, named.uri) == (run.name, f"gs://bucket/runs/{run.name}")


def test_show_of_a_name_that_two_runs_have_names_their_ids(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    wanted = submission("kubeflow")
    first = target.submit(wanted)
    second = clone(kubeflow, first.id, wanted.name)
    with pytest.raises(TargetError, match=f"2 runs .*{wanted.name}.*{first.id}, {second}"):
        target.show(wanted.name)


def test_state_that_nobody_knows_is_unknown_and_ends_with_its_time(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    run = target.submit(submission("kubeflow"))
    kubeflow.plan, kubeflow.ends = ["HIBERNATING", "HIBERNATING", "EVAPORATED"], {"EVAPORATED"}
    assert (target.show(run.id).state, target.show(run.id).ended) == ("unknown", False)
    assert wait(target, run.id, lambda found: None).state == "unknown"


def test_show_unknown_says_what_lists_them(kubeflow: FakeKubeflow) -> None:
    with pytest.raises(TargetError, match=r"no run 'taxi-1' in http.*`slipway runs list"):
        on_kubeflow(kubeflow).show("taxi-1")


def test_list_is_newest_first(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    assert target.list(10) == []
    runs = [target.submit(submission("kubeflow")) for _ in range(3)]
    assert [one.id for one in target.list(2)] == [runs[2].id, runs[1].id]


def test_cancelled_run_whose_workflow_ends_as_failed_is_cancelled(kubeflow: FakeKubeflow) -> None:
    kubeflow.plan = ["RUNNING"]
    target = on_kubeflow(kubeflow)
    run = target.submit(submission("kubeflow"))
    assert target.cancel(run.name).state == "cancelled"
    assert kubeflow.runs[run.id]["state"] == "FAILED"
    assert target.list(1)[0].state == "cancelled"
    with pytest.raises(TargetError, match=f"{run.name} has ended already: cancelled"):
        target.cancel(run.name)


def test_run_that_is_being_cancelled_is_not_cancelled_again(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    run = kubeflow.runs[target.submit(submission("kubeflow")).id]
    kubeflow.answer("GET", f"{API}/runs/.*", Answer(200, json.dumps(run | {"state": "CANCELING"}).encode()))
    target.cancel(run["run_id"])
    assert not kubeflow.asked("POST", ".*:terminate")


def test_run_that_was_retried_after_its_termination_and_failed_is_failed(kubeflow: FakeKubeflow) -> None:
    target = on_kubeflow(kubeflow)
    run = target.submit(submission("kubeflow"))
    kubeflow.plan = ["FAILED"]
    kubeflow.runs[run.id]["state_history"] = [{"state": one} for one in ("RUNNING", "CANCELING", "FAILED", "RUNNING")]
    assert target.show(run.id).state == "failed"


def test_nothing_is_left_in_the_users_home(kubeflow: FakeKubeflow, home: Path) -> None:
    on_kubeflow(kubeflow).submit(submission("kubeflow"))
    assert not list(home.iterdir())


def test_submit_prints_nothing(kubeflow: FakeKubeflow, capsys: pytest.CaptureFixture[str]) -> None:
    on_kubeflow(kubeflow).submit(submission("kubeflow"))
    assert capsys.readouterr() == ("", "")
    assert json.loads(kubeflow.asked("POST", f"{API}/runs")[0].body)["display_name"]
