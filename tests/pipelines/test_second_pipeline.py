"""A pipeline of one file, `counting.py`, through every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.registry import find_pipeline
from slipway.errors import ConfigError
from tests.cli.commands import DATA, slipway
from tests.compiled.specs import IMAGE, tasks
from tests.delivery.plan.project import FILES, Project
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex
from tests.pipelines import counting

CHOSEN = ("--pipeline", counting.COUNTING.name)
STEPS = ["count_rows", "judge_rows", "record_run"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("x\n" + "1\n" * 300)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS", json.dumps({"stdout": True, "events": ["success", "refused"]}))
    return tmp_path / "home"


def run(rows: Path, *arguments: str) -> dict[str, Any]:
    """Runs the pipeline on this machine; answers what `runs show --json` says of it."""
    assert slipway("run", *CHOSEN, "--data", str(rows), "--notify", *arguments).exit_code == 0
    shown: dict[str, Any] = json.loads(slipway("runs", "show", "--json").stdout)
    return shown


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_compile_writes_its_steps(target: str, tmp_path: Path) -> None:
    package = tmp_path / "counting.yaml"
    slipway("compile", *CHOSEN, "--target", target, "--image", IMAGE, "-o", str(package))
    spec = next(yaml.safe_load_all(package.read_text()))
    assert spec["pipelineInfo"]["name"] == "slipway-counting"
    assert sorted(spec["deploymentSpec"]["executors"]) == ["exec-count-rows", "exec-judge-rows", "exec-record-run"]


def test_run_records_reports_explains_and_notifies(rows: Path, home: Path) -> None:
    shown = run(rows, "--set", "training.batch_size=256")
    assert (shown["pipeline"], shown["state"], shown["verdict"]) == ("counting", "succeeded", "enough")
    assert [(step["name"], step["state"]) for step in shown["steps"]] == [(name, "succeeded") for name in STEPS]
    assert list(shown["artifacts"]) == ["counted_rows"]
    assert Path(shown["artifacts"]["counted_rows"], "rows.txt").read_text() == "300"

    page = Path(json.loads(slipway("report", "--json").stdout)["report"]).read_text()
    assert "<h2>Rows of the file</h2>" in page
    assert "300 rows were counted" in page
    assert "given enough rows" in page
    assert "pushed" not in page.partition("<h2>Lineage</h2>")[0]

    explained = slipway("explain").stdout
    assert explained.startswith(f"{shown['run']} was given enough rows.")
    assert "300 rows, at least 256" in explained
    assert "counting" in explained
    assert "taxi: there are enough rows" in Path(home, "runs", shown["run"], "logs", "record_run.log").read_text()
    assert "enough" in slipway("runs", "list").stdout


def test_run_again_is_cached_and_another_verdict_is_told_as_declared(rows: Path, home: Path) -> None:
    run(rows, "--set", "training.batch_size=256")
    shown = run(rows, "--set", "training.batch_size=512")
    assert {step["name"]: step["cached"] for step in shown["steps"]} == {
        "count_rows": True, "judge_rows": False, "record_run": False,
    }  # fmt: skip
    assert (shown["verdict"], shown["overrides"]) == ("short", {"training.batch_size": 512})
    log = Path(home, "runs", shown["run"], "logs", "record_run.log").read_text()
    assert "taxi: there are too few rows" in log
    assert "training.batch_size=512" in slipway("runs", "list").stdout


def test_run_that_must_push_fails_where_its_pipeline_pushes_nothing(rows: Path, home: Path) -> None:
    done = slipway("run", *CHOSEN, "--data", str(rows), "--set", "training.batch_size=512", "--require-push", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["verdict"] == "short"
    assert "'short'" in done.stderr


def test_run_that_fails_names_the_step(rows: Path, home: Path) -> None:
    assert slipway("run", *CHOSEN, "--data", f"{rows}.gone").exit_code == 1
    assert " failed at count_rows." in slipway("explain").stdout.splitlines()[0]


def test_submit_starts_it(vertex: FakeVertex) -> None:
    slipway("submit", "taxi", *CHOSEN, "--target", "vertex", "--data", DATA)
    [job] = vertex.jobs.values()
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "slipway-counting"
    assert job["runtimeConfig"]["parameterValues"] == {"data_uri": DATA, "least": 256}
    [constant] = {
        task["inputs"]["parameters"]["run"]["runtimeValue"]["constant"]
        for task in tasks(job["pipelineSpec"]).values()
        if "run" in task.get("inputs", {}).get("parameters", {})
    }
    assert json.loads(constant)["lineage"]["pipeline"] == "counting"


def test_schedule_names_it(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly = {"module": "taxi", "cron": "0 3 * * *", "data": DATA}
    schedules = {"nightly": nightly, "hourly": nightly | {"pipeline": "counting", "cron": "0 * * * *"}}
    monkeypatch.setenv("SLIPWAY_SCHEDULES", json.dumps(schedules))
    slipway("schedules", "apply")
    assert {one["display_name"] for one in kubeflow.pipelines.values()} == {"slipway-training", "slipway-counting"}
    assert {one["display_name"]: "least" in one["runtime_config"]["parameters"]
            for one in kubeflow.recurring_runs.values()} == {"nightly": False, "hourly": True}  # fmt: skip


def test_plan_compiles_and_submits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / "project")
    project.commit(dict(FILES))
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "''")
    commands = json.loads(slipway("plan", *CHOSEN, "--offline", "--json").stdout)["commands"]
    assert "slipway submit taxi --target kubeflow --pipeline counting" in commands


def test_unknown_pipeline_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no pipeline 'counted'; pipelines are .*counting.*training"):
        find_pipeline("counted")
