"""`slipway plan`, `sync` and `deploy` with a real repository, and fakes of registry, bucket and Kubeflow."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app
from slipway.errors import ConfigError, DeliveryError
from slipway.stores import storage
from tests.cli.commands import slipway
from tests.delivery.plan.project import FILES, IMAGE, MODEL, NEW_MODEL, ZEROS, Project
from tests.fakes.docker import write_docker
from tests.fakes.image_registry import FakeRegistry
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout with two commits, in which one stands; the second changes a module."""
    project = Project(tmp_path / "project")
    project.commit(dict(FILES))
    project.commit({MODEL: NEW_MODEL})
    monkeypatch.chdir(project.folder / "pipelines")
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "''")
    monkeypatch.setenv("SLIPWAY_MODULES", str(project.folder / "modules"))
    return project


@pytest.fixture
def cluster(
    project: Project, kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeKubeflow]:
    """Everything that a deployment needs; nothing is deployed yet."""
    programs = tmp_path / "bin"
    write_docker(programs, tmp_path / "docker.log")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("SLIPWAY_IMAGE")
    with FakeRegistry() as registry:
        monkeypatch.setenv("SLIPWAY_DELIVERY__IMAGE_REPOSITORY", registry.repository)
        yield kubeflow


def test_plan_json_has_what_a_pipeline_of_ci_needs(project: Project) -> None:
    found = json.loads(slipway("plan", "--json").stdout)
    assert (found["image"], found["modules"], found["pipelines"], found["manifests"]) == (False, ["taxi"], ["taxi"], [])
    assert {reason["subject"] for reason in found["reasons"]} == {
        "image", "module taxi", "module wine", "pipeline taxi", "pipeline wine",
    }  # fmt: skip
    assert found["commands"][-2:] == [
        "slipway submit taxi --target kubeflow",
        "slipway schedules apply --target kubeflow",
    ]


def test_plan_commands_are_commands_of_this_program(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "staging")
    commands = json.loads(slipway("plan", "--env", "staging", "--base", ZEROS, "--json").stdout)["commands"]
    ours = [shlex.split(command)[1:] for command in commands if command.startswith("slipway ")]
    assert [words[0] for words in ours] == ["sync", "submit", "submit", "rollout", "schedules"]
    monkeypatch.chdir(project.folder)
    for words in ours:
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            _, command, words = command.resolve_command(None, words)
        command.make_context("slipway", words)  # parses, and does not run


def test_plan_text_says_what_why_and_how(project: Project) -> None:
    shown = slipway("plan", "--offline", "--env", "staging").stdout
    head, base = project.git("rev-parse", "HEAD", "HEAD^").split()
    assert f"{head[:12]} for staging, compared with {base[:12]}" in shown
    assert re.search(rf"sync +module taxi +changed since {base[:12]} \({MODEL}\)", shown)
    assert re.search(rf"- +image +unchanged since {base[:12]}", shown)
    assert "  slipway sync taxi --env staging\n" in shown
    assert "`slipway deploy --env staging` carries this out" in shown


def test_plan_text_of_nothing_says_so(project: Project) -> None:
    project.commit({"README.md": "changed\n"})
    assert "nothing to do" in slipway("plan", "--base", "HEAD^").stdout


def test_plan_environment_of_the_variable_counts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_ENV", "staging")
    assert json.loads(slipway("plan", "--json").stdout)["environment"] == "staging"


def test_plan_unknown_environment_is_an_error(project: Project) -> None:
    with pytest.raises(ConfigError, match="there is no environment 'test'"):
        slipway("plan", "--env", "test")


def test_plan_of_many_paths_shows_a_few(project: Project) -> None:
    project.commit({f"slipway/part{number}.py": "" for number in range(9)})
    shown = slipway("plan").stdout
    assert "slipway/part4.py and 4 more)" in shown


def test_sync_without_remote_home_publishes_to_the_local_home(project: Project, tmp_path: Path) -> None:
    first = slipway("sync", "taxi").stdout
    assert first.startswith(f"taxi: published: {tmp_path}/home/modules/taxi/")
    every = json.loads(slipway("sync", "--json").stdout)
    assert [(one["module"], one["uploaded"]) for one in every] == [("taxi", False), ("wine", True)]


def test_sync_unknown_module_names_those_that_there_are(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"no module 'cab'.*Modules: taxi, wine"):
        slipway("sync", "cab")


def test_deploy_carries_a_plan_out_and_the_next_one_is_empty(cluster: FakeKubeflow, remote_home: str) -> None:
    plan = slipway("plan", "--env", "staging", "--json").stdout
    done = CliRunner().invoke(app, ["deploy", "--plan", "-"], input=plan, catch_exceptions=False)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "image", "sync taxi", "sync wine", "submit taxi", "submit wine", "schedules",
    ]  # fmt: skip
    assert sorted(run["display_name"].partition("-")[0] for run in cluster.runs.values()) == ["taxi", "wine"]
    assert {version["tags"]["module"] for version in cluster.versions.values()} == {"taxi", "wine"}
    assert all("@sha256:" in json.dumps(version) for version in cluster.versions.values())
    digest = json.loads(plan)["module_digests"]["taxi"]
    assert storage.exists(storage.join(remote_home, "modules", "taxi", digest, "model.py"))
    after = json.loads(slipway("plan", "--env", "staging", "--json").stdout)
    assert (after["image"], after["modules"], after["pipelines"], after["schedules"]) == (False, [], [], False)


def test_deploy_to_vertex_starts_its_jobs(
    cluster: FakeKubeflow, vertex: FakeVertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_DELIVERY__TARGET", "vertex")
    slipway("deploy", "--env", "staging")
    assert sorted(job["labels"]["module"] for job in vertex.jobs.values()) == ["taxi", "wine"]
    assert not cluster.runs


def test_deploy_is_for_its_environment_only(cluster: FakeKubeflow) -> None:
    slipway("deploy", "--env", "staging")
    found = json.loads(slipway("plan", "--env", "production", "--json").stdout)
    assert (found["image"], found["modules"], found["pipelines"]) == (False, [], ["taxi", "wine"])


def test_deploy_module_change_makes_one_run_of_that_module(cluster: FakeKubeflow, project: Project) -> None:
    slipway("deploy", "--env", "staging")
    project.commit({MODEL: "def build_model(features, hyperparameters):\n    return 'newer'\n"})
    slipway("deploy", "--env", "staging")
    names = [run["display_name"].partition("-")[0] for run in cluster.runs.values()]
    assert sorted(names) == ["taxi", "taxi", "wine"]
    assert sorted(one["display_name"].partition("-")[0] for one in cluster.versions.values()) == sorted(names)


def test_deploy_that_kubeflow_refused_is_taken_up_by_the_next_push(cluster: FakeKubeflow, project: Project) -> None:
    cluster.fail("POST", ".*/runs", 403)
    with pytest.raises(DeliveryError, match=r"submit taxi failed, and nothing after it was begun"):
        slipway("deploy", "--env", "staging")
    assert not cluster.runs
    project.commit({"README.md": "changed\n"})
    assert "submit taxi: taxi-" in slipway("deploy", "--env", "staging").stdout
    assert len(cluster.runs) == 2


def test_deploy_wait_run_that_failed_is_submitted_again_by_the_next_push(
    cluster: FakeKubeflow, project: Project
) -> None:
    cluster.plan = ["RUNNING", "FAILED"]
    failed = slipway("deploy", "--env", "staging", "--wait")
    assert failed.exit_code == 1
    assert "failed" in failed.stdout
    project.commit({"README.md": "changed\n"})
    shown = slipway("plan", "--env", "staging").stdout
    assert re.search(r"submit +pipeline taxi +taxi-[\w-]+ failed \(submitted in staging at", shown)
    cluster.plan = ["RUNNING", "SUCCEEDED"]
    assert slipway("deploy", "--env", "staging", "--wait").exit_code == 0
    assert "nothing to do" in slipway("plan", "--env", "staging").stdout
    assert len(cluster.runs) == 4


def test_deploy_dry_run_changes_nothing(cluster: FakeKubeflow, remote_home: str, tmp_path: Path) -> None:
    assert "submit" in slipway("deploy", "--env", "staging", "--dry-run").stdout
    assert not cluster.requests
    assert storage.list_files(remote_home) == []
    assert not (tmp_path / "docker.log").exists()


def test_deploy_dirty_checkout_is_refused(cluster: FakeKubeflow, project: Project) -> None:
    project.write(IMAGE, "changed\n")
    with pytest.raises(DeliveryError, match=f"not committed: {IMAGE}"):
        slipway("deploy", "--env", "staging", "--dry-run")


def test_deploy_plan_of_another_environment_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(slipway("plan", "--offline", "--env", "staging", "--json").stdout)
    with pytest.raises(ConfigError, match="--env production: the plan is for staging"):
        slipway("deploy", "--plan", str(tmp_path / "plan.json"), "--env", "production")


def test_deploy_plan_of_another_pipeline_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(slipway("plan", "--offline", "--env", "staging", "--json").stdout)
    with pytest.raises(ConfigError, match="--pipeline monitoring: the plan is for training"):
        slipway("deploy", "--plan", str(tmp_path / "plan.json"), "--pipeline", "monitoring")


@pytest.mark.parametrize(("content", "message"), [("{}", "target: Field required"), ("x", "the whole: Invalid")])
def test_deploy_what_is_no_plan_is_refused(project: Project, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ConfigError, match=rf"plan\.json is not a plan: {message}"):
        slipway("deploy", "--plan", str(tmp_path / "plan.json"))
