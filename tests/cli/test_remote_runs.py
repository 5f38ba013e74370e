import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import TargetError
from slipway.stores import storage
from tests.cli.commands import DATA, slipway
from tests.recorded_runs import WHY_REFUSED, write_run


@pytest.fixture(params=["kubeflow", "vertex"])
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
    assert "`slipway submit` makes one" in slipway("runs", "list", "--target", target).stdout
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


def test_runs_logs_of_a_target(target: str) -> None:
    run = submit(target)
    lines = slipway("runs", "logs", run["run"], "--target", target).stdout.splitlines()
    assert {line.partition(": ")[0] for line in lines} == {"resolve_source", "train_model"}
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


def test_explain_run_of_this_machine_comes_before_the_bucket(remote_home: str, tmp_path: Path) -> None:
    write_run(tmp_path / "home", "taxi-1", "failed")
    assert "failed at validate_examples" in slipway("explain", "taxi-1").stdout
