"""The CI files as their own checkers see them, and the rules of the house that no checker knows."""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from settings.load import PROJECT

BIN = Path(sys.executable).parent
WORKFLOWS = [PROJECT / ".github" / "workflows" / f"{name}.yaml" for name in ("ci", "cluster", "deploy")]
CLOUD_BUILD = PROJECT / "cloudbuild.yaml"
DEPENDABOT = PROJECT / ".github" / "dependabot.yml"
PIN = re.compile(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def check(*command: str | Path, text: str | None = None) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            if "uses" not in job:  # the jobs of a workflow that it calls
                yield f"{path.name}: {name}", job


def scripts() -> Iterator[tuple[str, str]]:
    """Everything that a shell runs, as the shell sees it."""
    for name, job in jobs():
        for step in job["steps"]:
            if "run" in step:
                yield f"{name}: {step['name']}", f"#!/bin/bash\nset -eo pipefail\n{step['run']}"
    for step in yaml.safe_load(CLOUD_BUILD.read_text())["steps"]:
        yield f"cloudbuild.yaml: {step['id']}", step["script"]


def test_there_are_workflows() -> None:
    assert all(path.is_file() for path in WORKFLOWS)
    assert len([pytest.param(*one, id=one[0]) for one in scripts()]) >= 10


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_follow_the_schema(schema: str) -> None:
    check("check-jsonschema", "--builtin-schema", schema, *WORKFLOWS)


def test_cloudbuild_follows_the_schema() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.cloudbuild", CLOUD_BUILD)


def test_dependabot_follows_the_schema_and_looks_where_there_is_something() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT)
    found = {
        "docker": "Dockerfile",
        "github-actions": ".github/workflows",
        "terraform": "versions.tf",
        "npm": "package.json",
    }
    for update in yaml.safe_load(DEPENDABOT.read_text())["updates"]:
        for folder in update.get("directories") or [update["directory"]]:
            assert (PROJECT / folder.lstrip("/") / found[update["package-ecosystem"]]).exists(), update


def test_dependabot_sees_each_pin_of_an_image() -> None:
    """It reads FROM lines with an image, and no ARG: dependabot-core, docker/lib/dependabot/docker/file_parser.rb."""
    updates = {one["package-ecosystem"]: one for one in yaml.safe_load(DEPENDABOT.read_text())["updates"]}
    for folder in updates["docker"]["directories"]:
        text = (PROJECT / folder.lstrip("/") / "Dockerfile").read_text()
        assert len(re.findall(r"@sha256:[0-9a-f]{64}", text)) == 1
        assert re.search(r"^FROM \S+@sha256:[0-9a-f]{64}( AS \w+)?$", text, re.MULTILINE)


def test_yaml_is_well_kept() -> None:
    check("yamllint", "--strict", "--config-file", PROJECT / ".yamllint", CLOUD_BUILD, DEPENDABOT, *WORKFLOWS)


def test_workflows_are_secure() -> None:
    check("zizmor", "--offline", "--no-progress", "--persona=pedantic", DEPENDABOT, *WORKFLOWS)


def test_image_of_cloud_build_has_provenance_and_an_sbom_and_its_log_can_be_followed() -> None:
    """BuildKit attests what it pushes; gcloud follows logs in a bucket alone (`LoggingMode` of cloudbuild.proto)."""
    content = yaml.safe_load(CLOUD_BUILD.read_text())
    [options] = [line for step in content["steps"] for line in step.get("env", []) if "BUILD_OPTIONS" in line]
    given = yaml.safe_load(options.partition("=")[2])
    assert {"--push", "--provenance=mode=max", "--sbom=true"} <= set(given)
    assert "--load" not in given
    assert content["options"]["logging"] == "GCS_ONLY"
    assert '--gcs-log-dir "$$SOURCE/logs"' in (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize(("name", "script"), [pytest.param(*one, id=one[0]) for one in scripts()])
def test_scripts_pass_shellcheck(name: str, script: str) -> None:
    check("shellcheck", "-", text=script)


@pytest.mark.parametrize(("name", "script"), [pytest.param(*one, id=one[0]) for one in scripts()])
def test_scripts_take_nothing_by_interpolation(name: str, script: str) -> None:
    assert "${{" not in script, "hand it over in env:, where the shell does not read it as code"


def test_actions_are_pinned_by_commit_with_their_version() -> None:
    lines = [
        line.strip()
        for path in WORKFLOWS
        for line in path.read_text().splitlines()
        if "uses:" in line and "uses: ./" not in line
    ]
    assert len(lines) > 5
    assert [line for line in lines if not PIN.fullmatch(line.removeprefix("- "))] == []


def test_one_action_has_one_version() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    pins = set(re.findall(r"uses: (\S+?)@(\S+ # \S+)", text))
    assert len(pins) == len({action for action, _ in pins})


@pytest.mark.parametrize(("name", "job"), [pytest.param(*one, id=one[0]) for one in jobs()])
def test_jobs_have_least_permissions_and_keep_no_token(name: str, job: dict[str, Any]) -> None:
    uses = {step["uses"].partition("@")[0]: step.get("with", {}) for step in job["steps"] if "uses" in step}
    wanted = {"contents": "read"} | ({"id-token": "write"} if "google-github-actions/auth" in uses else {})
    assert job["permissions"] == wanted
    assert uses["actions/checkout"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_grant_nothing_at_the_top_and_use_no_secret(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert "secrets." not in path.read_text(), "Google is reached by workload identity federation, not by a key"
    # YAML 1.1 reads `on` as true.
    assert set(workflow[True]) <= {"pull_request", "push", "workflow_call", "workflow_dispatch"}


def test_deployments_wait_for_each_other_and_are_never_cut_off() -> None:
    deploy = yaml.safe_load((PROJECT / ".github" / "workflows" / "deploy.yaml").read_text())
    groups = [job["concurrency"] for job in deploy["jobs"].values() if "uses" not in job]
    assert not any(group["cancel-in-progress"] for group in groups)
    assert len({group["group"] for group in groups}) == len(groups) == 3


def test_nothing_is_planned_before_ci_is_green() -> None:
    jobs = yaml.safe_load((PROJECT / ".github" / "workflows" / "deploy.yaml").read_text())["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yaml"
    assert jobs["plan"]["needs"] == "ci"
    # A condition of its own would let it run after a failure.
    assert "if" not in jobs["plan"]
    called = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yaml").read_text())
    assert "workflow_call" in called[True]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_plan_of_500_modules_reaches_cloud_build(tmp_path: Path, environment: str) -> None:
    names = [f"module_{number}" for number in range(500)]
    plan = {
        "module_digests": {name: hashlib.sha256(name.encode()).hexdigest() for name in names},
        "reasons": [
            {"subject": f"pipeline {name}", "action": "submit", "why": "the image changed since it was submitted"}
            for name in names
        ],
        "commands": [f"slipway submit {name} --target kubeflow --env {environment}" for name in names],
    }
    packed = base64.b64encode(gzip.compress(json.dumps(plan).encode(), 9)).decode()
    # MAX_ARG_STRLEN of Linux, and what https://cloud.google.com/build/docs says of substitutions.
    assert len(f"PLAN={packed}") < 131_072
    for name in ("Makefile", "cloudbuild.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    gcloud = tmp_path / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$CALLED"\n')
    gcloud.chmod(0o755)
    deploy = yaml.safe_load((PROJECT / ".github" / "workflows" / "deploy.yaml").read_text())["jobs"][environment]
    [step] = [step for step in deploy["steps"] if step.get("name") == "Carry the plan out"]
    given = dict.fromkeys(step["env"], "x") | {"PLAN": packed, "CALLED": str(tmp_path / "called")}
    path = f"{gcloud.parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=given | {"PATH": path}, check=True)
    assert json.loads((tmp_path / "plan.json").read_text()) == plan
    assert max(map(len, (tmp_path / "called").read_text().splitlines())) < 4000


def test_production_comes_after_staging_was_asked_for_real_and_behind_an_environment() -> None:
    deploy = yaml.safe_load((PROJECT / ".github" / "workflows" / "deploy.yaml").read_text())["jobs"]
    assert deploy["production"]["environment"] == "production"
    assert "staging" in deploy["production"]["needs"]
    assert "always()" not in deploy["production"]["if"]
    runs = [step["run"] for step in deploy["staging"]["steps"] if "run" in step]
    [carried] = [run for run in runs if run.endswith("make cloud-build\n")]
    assert runs.index(carried) < runs.index("make smoke")
    # What is asked does not hang on what is deployed: a failed request is not forgotten at the next push.
    assert "if" not in next(step for step in deploy["staging"]["steps"] if step.get("run") == "make smoke")


def test_cloudbuild_starts_from_the_base_of_the_image() -> None:
    base = re.search(r"^FROM (\S+) AS base$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    names = [step["name"] for step in yaml.safe_load(CLOUD_BUILD.read_text())["steps"]]
    assert names[-1] == base[1], f"the Dockerfile's base moved: put {base[1]} into cloudbuild.yaml's last step, too"
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", name) for name in names)


def test_cloudbuild_uses_what_it_is_given_and_no_more() -> None:
    content = yaml.safe_load(CLOUD_BUILD.read_text())
    used = set(re.findall(r"\$(_[A-Z]+)", json.dumps(content["steps"])))
    assert used == set(content["substitutions"])


def test_ci_runs_every_python_that_the_project_supports() -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yaml").read_text())
    supported = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    wanted = [f"3.{minor}" for minor in range(40) if f"3.{minor}" in SpecifierSet(supported)]
    assert wanted == workflow["jobs"]["test"]["strategy"]["matrix"]["python"]


def imported_modules(path: Path) -> Iterator[str]:
    """All that a module's imports name: `a.b` and `a.b.c` for `from a.b import c`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_nothing_imports_a_test_module_or_a_conftest() -> None:
    found = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in (PROJECT / "tests").rglob("*.py")
        for name in imported_modules(path)
        if name.startswith("tests.") and re.search(r"\.(test_\w+|conftest)(\.|$)", name)
    }
    assert not found, "move what several tests use into a module of its own, or into a fixture of tests/conftest.py"
