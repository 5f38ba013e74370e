import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import TargetError
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RunState, Summary
from slipway.stores import storage
from tests.cli.commands import DATA, slipway
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.kubeflow import FakeKubeflow
from tests.recorded_runs import WHY_REFUSED, write_run


@pytest.fixture(params=["kubeflow", pytest.param("vertex", marks=pytest.mark.slow)])
def target(request: pytest.FixtureRequest) -> str:
    """A target with no run yet; its server is `server`."""
    request.getfixturevalue(request.param)
    name: str = request.param
    return name


@pytest.fixture
def server(target: str, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(target)


def submit(target: str) -> dict[str, Any]:
    said = slipway("submit", "taxi", "--target", target, "--data", DATA, "--json").stdout
    found: dict[str, Any] = json.loads(said)
    return found


def test_runs_list_of_a_target_shows_state_module_and_revision(target: str) -> None:
    assert f"`slipway submit MODULE --target {target}` makes one" in slipway("runs", "list", "--target", target).stdout
    run = submit(target)
    head, line = slipway("runs", "list", "--target", target).stdout.splitlines()
    assert head.split()[:3] == ["run", "state", "module"]
    assert line.split()[:4] == [run["run"], "pending", "taxi", run["labels"]["git-revision"][:12]]
    [found] = json.loads(slipway("runs", "list", "--target", target, "--json").stdout)
    assert found["id"] == run["id"]


def test_runs_show_of_a_target_shows_steps_labels_and_address(target: str, server: Any) -> None:
    with pytest.raises(TargetError, match="has no runs of Slipway's"):
        slipway("runs", "show", "--target", target)
    run = submit(target)
    server.plan = ["FAILED"]
    shown = slipway("runs", "show", "--target", target).stdout
    for text in (f"{run['run']}: failed", "✕ train_model", "✓ resolve_source", run["url"], "module-digest"):
        assert text in shown
    found = json.loads(slipway("runs", "show", run["run"], "--target", target, "--json").stdout)
    assert (found["id"], found["state"]) == (run["id"], "failed")


def test_runs_show_of_kubeflow_says_why_a_step_waits_and_which_came_from_the_cache(kubeflow: FakeKubeflow) -> None:
    submit("kubeflow")
    kubeflow.plan, kubeflow.endings = ["RUNNING"], {"resolve-source": "cached", "train-model": "waiting"}
    lines = slipway("runs", "show", "--target", "kubeflow").stdout.splitlines()
    assert lines[1].startswith("  train_model waits: Unschedulable: 0/3 nodes are available")
    assert [line.split()[1:3] for line in lines[2:4]] == [["resolve_source", "cached"], ["train_model", "pending"]]


def test_runs_logs_of_a_target(target: str) -> None:
    run = submit(target)
    lines = slipway("runs", "logs", run["run"], "--target", target).stdout.splitlines()
    assert {"resolve_source", "train_model"} <= {line.partition(": ")[0] for line in lines}
    one = slipway("runs", "logs", "--step", "train_model", "--target", target).stdout.splitlines()
    assert [line.split()[0] for line in one] == ["first", "last"]


def test_runs_cancel_of_a_target_asks_for_the_end(target: str, server: Any) -> None:
    run = submit(target)
    server.plan = ["RUNNING"]
    said = slipway("runs", "cancel", run["run"], "--target", target).stdout
    assert said.splitlines() == [f"{run['run']}: cancelled; cancellation was requested", run["url"]]


def test_runs_of_an_unknown_name_say_what_lists_them(target: str) -> None:
    submit(target)
    with pytest.raises(TargetError, match=f"`slipway runs list --target {target}` lists them"):
        slipway("runs", "show", "taxi-0", "--target", target)


def test_runs_json_of_a_target_has_times_with_a_zone(target: str) -> None:
    submit(target)
    [found] = json.loads(slipway("runs", "list", "--target", target, "--json").stdout)
    assert datetime.fromisoformat(found["created"]).tzinfo is not None
    assert found["finished"] is None


def record(home: str, name: str, tmp_path: Path) -> None:
    """What a run on a cluster leaves in the bucket: its own record, without the runner's."""
    folder = write_run(tmp_path / "elsewhere", name, "refused")
    (folder / "steps.json").unlink()
    for path in folder.glob("*.*"):
        storage.write_bytes(storage.join(home, "runs", name, path.name), path.read_bytes())


@pytest.mark.parametrize("options", [(), ("--env", "staging")])
def test_report_and_explain_read_runs_of_the_bucket(remote_home: str, options: tuple[str, ...], tmp_path: Path) -> None:
    record(remote_home, "taxi-7", tmp_path)
    for name in ((), ("taxi-7",)):
        assert WHY_REFUSED in slipway("explain", *name, *options).stdout
        page = Path(slipway("report", *name, *options).stdout.strip())
        assert page == tmp_path / "home" / "reports" / "taxi-7.html"
        assert WHY_REFUSED in page.read_text()


def test_report_and_explain_of_a_target_take_its_newest_run_or_one_by_id(
    target: str, remote_home: str, tmp_path: Path
) -> None:
    run = submit(target)
    record(remote_home, run["run"], tmp_path)
    for name in ((), (run["id"],), (run["run"],)):
        assert WHY_REFUSED in slipway("explain", *name, "--target", target).stdout
        assert json.loads(slipway("report", *name, "--target", target, "--json").stdout)["run"] == run["run"]


@pytest.fixture
def ended(target: str, server: Any, remote_home: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A run that ended without a record of its own; on Kubeflow since the exit handler's driver failed."""
    run = submit(target)
    server.plan = [getattr(request, "param", "FAILED")]
    if target == "kubeflow":
        training = "failed" if server.plan == ["FAILED"] else "succeeded"
        server.endings = {"resolve-source": "succeeded", "train-model": training, "record-run": "driver failed"}
    slipway("runs", "show", "--target", target)
    return run


def recorded(remote_home: str, run: dict[str, Any]) -> Summary:
    return Summary.model_validate_json(
        storage.read_bytes(storage.join(remote_home, "runs", run["run"], "summary.json"))
    )


def test_runs_list_makes_the_record_that_the_exit_handler_did_not(
    target: str, ended: dict[str, Any], remote_home: str
) -> None:
    said = slipway("runs", "list", "--target", target)
    assert f"recorded {ended['run']} as failed" in said.stderr
    summary = recorded(remote_home, ended)
    assert (summary.state, summary.failed_step, summary.lineage.run) == ("failed", "train_model", ended["run"])
    assert "the exit handler did not run" in (summary.error or "")
    assert (
        summary.finished
        == datetime.fromisoformat(
            json.loads(slipway("runs", "show", "--target", target, "--json").stdout)["finished"]
        ).timestamp()
    )
    assert slipway("runs", "list", "--target", target).stderr == ""
    assert "the exit handler did not run" in slipway("explain", ended["run"], "--target", target).stdout


def test_record_of_a_run_that_failed_before_its_steps_says_at_what(kubeflow: FakeKubeflow, remote_home: str) -> None:
    run = submit("kubeflow")
    kubeflow.plan, kubeflow.endings = ["FAILED"], {"slipway-training": "driver failed"}
    slipway("runs", "show", "--target", "kubeflow")
    slipway("runs", "list", "--target", "kubeflow")
    assert recorded(remote_home, run).reasons[0] == "slipway-training-driver failed: Error (exit code 1)"


def test_runs_list_as_json_is_nothing_else_where_records_are_made(target: str, ended: dict[str, Any]) -> None:
    [found] = json.loads(slipway("runs", "list", "--target", target, "--json").stdout)
    assert (found["run"], found["state"]) == (ended["run"], "failed")


@pytest.mark.parametrize("command", ["explain", "report"])
def test_explain_and_report_of_a_run_without_a_record_make_it(
    target: str, ended: dict[str, Any], remote_home: str, command: str
) -> None:
    slipway(command, ended["run"], "--target", target)
    assert recorded(remote_home, ended).state == "failed"


@pytest.mark.parametrize("ended", ["SUCCEEDED"], indirect=True)
def test_record_that_is_made_later_has_the_verdict_of_the_run(
    target: str, ended: dict[str, Any], remote_home: str, tmp_path: Path
) -> None:
    outcome = Outcome(verdict="pushed", reasons=[], version=7)
    storage.write_text(storage.join(remote_home, "runs", ended["run"], "outcome.json"), outcome.model_dump_json())
    slipway("runs", "list", "--target", target)
    summary = recorded(remote_home, ended)
    assert (summary.state, summary.verdict, summary.pushed_version) == ("succeeded", "pushed", 7)


@pytest.mark.parametrize("before", [None, "interrupted", "failed"])
def test_runs_list_records_a_cancelled_run_as_cancelled(
    target: str, server: Any, remote_home: str, before: RunState | None
) -> None:
    run = submit(target)
    server.plan = ["RUNNING"]
    if target == "kubeflow":
        server.endings = {"resolve-source": "succeeded", "train-model": "failed"}
        server.endings |= {"record-run": "succeeded"} if before else {}
    if before:
        summary = Summary(lineage=Lineage(run=run["run"], module="taxi", module_digest="", data_uri=""), state=before)
        storage.write_text(storage.join(remote_home, "runs", run["run"], "summary.json"), summary.model_dump_json())
    slipway("runs", "cancel", run["run"], "--target", target)
    said = slipway("runs", "list", "--target", target)
    assert said.stdout.splitlines()[1].split()[1] == "cancelled"
    assert f"recorded {run['run']} as cancelled" in said.stderr
    assert recorded(remote_home, run).state == "cancelled"
    assert f"{run['run']} was cancelled" in slipway("explain", "--target", target).stdout
    assert slipway("runs", "list", "--target", target).stderr == ""


def test_record_that_was_deleted_after_the_run_is_not_made_again(kubeflow: FakeKubeflow, remote_home: str) -> None:
    run = submit("kubeflow")
    kubeflow.plan = ["FAILED"]
    slipway("runs", "show", "--target", "kubeflow")
    assert slipway("runs", "list", "--target", "kubeflow").stderr == ""
    assert not storage.exists(storage.join(remote_home, "runs", run["run"], "summary.json"))


def test_runs_list_of_one_who_may_not_read_records_lists_the_runs_all_the_same(
    target: str, ended: dict[str, Any], fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", fault_proxy.uri("home"))
    fault_proxy.inject("status", status=403)
    said = slipway("runs", "list", "--target", target)
    assert (said.exit_code, ended["run"] in said.stdout) == (0, True)
    assert f"warning: records were not compared with {target}: " in said.stderr


def test_explain_run_of_this_machine_comes_before_the_bucket(remote_home: str, tmp_path: Path) -> None:
    write_run(tmp_path / "home", "taxi-1", "failed")
    assert "failed at validate_examples" in slipway("explain", "taxi-1").stdout
