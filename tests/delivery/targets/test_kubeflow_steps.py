"""Steps and logs of runs on Kubeflow, whose workflow differs by its release."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from delivery.targets.kubeflow import KubeflowTarget
from delivery.targets.kubeflow_workflow import read_failure, read_steps
from slipway.errors import TargetError
from slipway.runs.record import Step
from tests.delivery.targets.places import on_kubeflow
from tests.delivery.targets.submissions import submission
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubeflow.workflow import Ending, Workflow, fnv1a
from tests.fakes.loopback_server import Answer

IN_GROUP = "root.slipway-training"


@pytest.fixture(params=["2.14.0", pytest.param("2.16.1", marks=pytest.mark.slow), "2.17.0"])
def server(request: pytest.FixtureRequest) -> Iterator[FakeKubeflow]:
    with FakeKubeflow(version=request.param) as server:
        yield server


def run_with(server: FakeKubeflow, state: str = "RUNNING", **endings: Ending) -> tuple[KubeflowTarget, str]:
    """A run in a state whose tasks came to these ends, and its id."""
    target = on_kubeflow(server)
    run = target.submit(submission("kubeflow"))
    server.plan = [state]
    server.endings = {name.replace("_", "-"): ending for name, ending in endings.items()}
    target.show(run.id)
    return target, run.id


def states(steps: list[Step]) -> dict[str, str]:
    return {step.name: step.state for step in steps}


def at(server: FakeKubeflow, path: str) -> str:
    """The name of a node of the fake's workflow, without the workflow's."""
    return path if server.release < (2, 17) else path.replace(".", "(0).") + "(0)"


def test_fake_names_nodes_and_pods_as_argo_does() -> None:
    # workflow/controller/operator_test.go of argo-workflows v3.6.7
    assert fnv1a("retry-backoff-s69z6(0)") == 1807967148
    assert fnv1a("dag-primay-branch-sd6rg.A") == 1815625391
    workflow = Workflow("w", {"train-model": "retried"}, "Running", numbered=False)
    second = f"w.{IN_GROUP}.train-model.executor(1)"
    assert f"w-retry-system-container-impl-{fnv1a(second)}" in workflow.pods


def test_show_lists_the_steps_of_the_spec_and_no_other_node(server: FakeKubeflow) -> None:
    target, run = run_with(
        server,
        "FAILED",
        resolve_source="cached",
        ingest_examples="succeeded",
        train_model="retried",
        evaluate_model="failed",
        push_model="omitted",
        record_run="succeeded",
    )
    steps = target.show(run).steps
    assert states(steps) == {
        "resolve_source": "succeeded",
        "ingest_examples": "succeeded",
        "train_model": "succeeded",
        "evaluate_model": "failed",
        "record_run": "succeeded",
        "push_model": "skipped",
    }
    assert [step.name for step in steps if step.cached] == ["resolve_source"]
    assert [step.seconds for step in steps] == [0.0, 20.0, 20.0, 20.0, 20.0, None]
    assert {step.name: step.error for step in steps if step.error} == {"evaluate_model": "OOMKilled (exit code 137)"}


@pytest.mark.parametrize(
    ("ending", "state", "error"),
    [
        ("running", "running", None),
        ("waiting", "pending", "Unschedulable: 0/3 nodes are available"),
        ("failed", "failed", "Error (exit code 1)"),
        ("driver failed", "failed", "the step's driver failed: Error (exit code 1)"),
    ],
)
def test_show_of_a_step_says_why_it_waits_or_failed(
    server: FakeKubeflow, ending: Ending, state: str, error: str | None
) -> None:
    target, run = run_with(server, resolve_source="succeeded", train_model=ending)
    [step] = [step for step in target.show(run).steps if step.name == "train_model"]
    assert step.state == state
    assert step.error == error or (error and str(step.error).startswith(error))


def test_show_of_a_workflow_that_argo_compressed_has_its_steps(server: FakeKubeflow) -> None:
    server.compressed = True
    target, run = run_with(server, resolve_source="cached", train_model="running")
    assert states(target.show(run).steps) == {"resolve_source": "succeeded", "train_model": "running"}


def test_step_that_an_ended_run_never_came_to_is_skipped(server: FakeKubeflow) -> None:
    target, run = run_with(server, "FAILED", resolve_source="succeeded", train_model="omitted")
    assert states(target.show(run).steps)["train_model"] == "skipped"


def test_show_of_a_run_that_failed_before_its_steps_says_at_what(server: FakeKubeflow) -> None:
    target, run = run_with(server, "FAILED", slipway_training="driver failed")
    found = target.show(run)
    assert (found.steps, found.error) == ([], "slipway-training-driver failed: Error (exit code 1)")


def test_attempt_that_was_made_good_is_not_why_a_run_failed() -> None:
    workflow = Workflow("w", {"train-model": "retried"}, "Failed", numbered=True)
    [first] = [node for node in workflow.nodes.values() if node["name"].endswith("root-driver(0)")]
    first.update(phase="Error", message="pod deleted")  # its retry node succeeded by the next attempt
    manifest = json.loads(workflow.manifest)
    manifest["status"]["message"] = "Step exceeded its deadline"
    assert read_failure(manifest) == "Step exceeded its deadline"


@pytest.mark.parametrize(("numbered", "training"), [(False, "running"), (True, "pending")])
def test_steps_of_a_run_that_is_retried_in_the_ui_are_those_that_go_on(numbered: bool, training: str) -> None:
    endings: dict[str, Ending] = {
        "resolve-source": "cached",
        "train-model": "failed",
        "push-model": "omitted",
        "record-run": "succeeded",
    }
    workflow = Workflow("w", endings, "Failed", numbered=numbered)
    workflow.retry()
    steps = [step for step, _ in read_steps(json.loads(workflow.manifest))]
    assert states(steps) == {"resolve_source": "succeeded", "train_model": training, "record_run": "succeeded"}
    assert steps[0].cached


def test_list_asks_for_no_steps(server: FakeKubeflow) -> None:
    target, _ = run_with(server)
    server.requests.clear()
    assert target.list(5)[0].steps == []
    assert not server.asked("GET", "/apis/v1beta1/.*")


@pytest.mark.parametrize("pod_names", ["v1", "v2"])
def test_logs_of_all_steps_begin_with_their_names(server: FakeKubeflow, pod_names: str) -> None:
    server.pod_names = pod_names
    target, run = run_with(server, resolve_source="succeeded", train_model="running")
    source, model = (at(server, f"{IN_GROUP}.resolve-source.executor"), at(server, f"{IN_GROUP}.train-model.executor"))
    assert list(target.logs(run, None)) == [
        f"resolve_source: first line of {source}",
        "resolve_source: last line of Succeeded",
        f"train_model: first line of {model}",
        "train_model: last line of Running",
    ]
    assert next(target.logs(run, "train_model")) == f"first line of {model}"
    with pytest.raises(TargetError, match="no step 'push_model' yet; it has resolve_source, train_model"):
        list(target.logs(run, "push_model"))


@pytest.mark.parametrize("pods", ["there", "archived"])
def test_logs_of_a_step_that_was_retried_are_those_of_all_attempts(server: FakeKubeflow, pods: str) -> None:
    server.pods = "archived" if pods == "archived" else "there"
    target, run = run_with(server, "SUCCEEDED", train_model="retried")
    assert [line for line in target.logs(run, "train_model") if line.startswith("last")] == [
        "last line of Failed",
        "last line of Succeeded",
    ]


def test_logs_of_a_step_whose_driver_failed_are_the_drivers(server: FakeKubeflow) -> None:
    target, run = run_with(server, "FAILED", train_model="driver failed")
    driver = at(server, f"{IN_GROUP}.train-model-driver")
    assert list(target.logs(run, "train_model")) == [f"first line of {driver}", "last line of Failed"]


def test_logs_of_the_exit_handler_are_found_behind_its_hook(server: FakeKubeflow) -> None:
    target, run = run_with(server, "SUCCEEDED", resolve_source="succeeded", record_run="succeeded")
    assert "onExit" in next(target.logs(run, "record_run"))


def test_logs_that_are_nowhere_say_why_and_the_others_go_on(server: FakeKubeflow) -> None:
    target, run = run_with(server, resolve_source="cached", ingest_examples="succeeded", train_model="waiting")
    lines = list(target.logs(run, None))
    assert [line.partition(": ")[0] for line in lines] == [
        "resolve_source",
        "ingest_examples",
        "ingest_examples",
        "train_model",
    ]
    assert "came from the cache" in lines[0]
    assert "Unschedulable" in lines[3]
    server.pods = "gone"
    [gone] = target.logs(run, "ingest_examples")
    assert "not found" in gone
    assert "error_message" not in gone


@pytest.mark.parametrize("pods", ["there", "archived"])
@pytest.mark.parametrize("multi_user", [True, False])
def test_logs_behind_the_ui_which_lacks_the_route_come_by_its_own(
    server: FakeKubeflow, pods: str, multi_user: bool
) -> None:
    server.pods, server.behind_ui = ("archived" if pods == "archived" else "there"), True
    server.multi_user = multi_user
    target = on_kubeflow(server, namespace="team-a")
    run = target.submit(submission("kubeflow")).id
    server.plan, server.endings = ["RUNNING"], {"resolve-source": "succeeded", "train-model": "running"}
    target.show(run)
    assert [line for line in target.logs(run, None) if "last" in line] == [
        "resolve_source: last line of Succeeded",
        "train_model: last line of Running",
    ]
    server.pods = "gone"
    [gone] = target.logs(run, "resolve_source")
    assert gone.startswith("(no log of ")
    assert "Unable to retrieve workflow status" in gone


def test_logs_that_break_off_are_printed_as_far_as_they_came(server: FakeKubeflow) -> None:
    target, run = run_with(server, train_model="running")
    error = '{"error_message":"BadRequestError: Failed to read logs for run 1: eof","error_details":"x"}'
    server.answer("GET", ".*/log", Answer(200, f'{{"error_message": "mine"}}\nhalf{error}'.encode()))
    lines = list(target.logs(run, "train_model"))
    assert lines[0] == '{"error_message": "mine"}'
    assert lines[1].startswith("half(no log of ")
    assert lines[1].endswith("eof)")


def test_logs_that_may_not_be_read_name_the_role(server: FakeKubeflow) -> None:
    target, run = run_with(server, train_model="running")
    server.fail("GET", ".*/log", 403)
    with pytest.raises(TargetError, match=r"system-container-impl-\d+.*kubeflow-pipelines-edit"):
        list(target.logs(run, None))
