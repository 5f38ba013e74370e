"""Pushes to a repository, and what its workflow makes of them: the `run:` steps of deploy.yaml are run for real.

GitHub's part (checking out, logging in, expressions, outputs, conditions) is played as its documentation has it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from settings.load import PROJECT
from tests.delivery.plan.project import ZEROS, Project
from tests.fakes.programs import PROGRAMS, install, write_programs

# All that the workflow reads, or what it calls.
PARTS = (
    ".gcloudignore", ".github", ".gitignore", "Dockerfile", "Makefile", "cli", "cloudbuild.yaml", "components",
    "console", "delivery", "image", "pipelines", "pyproject.toml", "requirements", "serving", "settings", "slipway",
)  # fmt: skip
VARIABLES = {
    "GCP_PROJECT": "project",
    "GCP_REGION": "europe-west1",
    "GCP_BUILD_SERVICE_ACCOUNT": "builder@project.iam.gserviceaccount.com",
    "BUILD_SOURCE": "gs://project-builds/source",
    "BUILD_CACHE": "europe-docker.pkg.dev/project/slipway/cache",
    "SERVING_REST": "serving.staging:8501",
    "SERVING_GRPC": "serving.staging:8500",
    "MODEL_STORE": "gs://bucket/staging/models",
}
ACTIONS_WITHOUT_TRACE = {"actions/setup-python", "google-github-actions/setup-gcloud"}


@dataclass
class Pushes:
    """A repository on GitHub, below `folder`."""

    folder: Path
    _head: str = ZEROS
    _count: int = 0
    _outputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = Project(self.folder / "origin")
        listed = subprocess.run(["git", "-C", PROJECT, "ls-files"], capture_output=True, text=True, check=True)
        for path in filter(lambda path: path.startswith(PARTS), listed.stdout.splitlines()):
            (self.project.folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / path, self.project.folder / path)
        write_programs(self.folder / "bin", *PROGRAMS)

    def push(self, files: dict[str, str], **environment: str) -> list[str]:
        """Commits files and runs the workflow.

        Returns:
            How the fakes were called, in order; a job that failed ends the list with `failed: <job>`.
        """
        before, self._head = self._head, self.project.commit(dict(files))
        self._count += 1
        self._log.parent.mkdir()
        self._log.touch()
        workflow = yaml.safe_load((self.project.folder / ".github" / "workflows" / "deploy.yaml").read_text())
        for name, job in workflow["jobs"].items():
            if "uses" in job:
                assert job["uses"] == "./.github/workflows/ci.yaml"
                if environment.get("CI_OF_PUSH") == "red":
                    return [f"failed: {name}"]
                continue
            if self._holds(job.get("if")) and not self._job(name, job["steps"], before, environment):
                return [*self._calls(), f"failed: {name}"]
        return self._calls()

    @property
    def _log(self) -> Path:
        return self.folder / f"push-{self._count}" / "calls.jsonl"

    def _calls(self) -> list[str]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def _job(self, name: str, steps: list[dict[str, Any]], before: str, environment: dict[str, str]) -> bool:
        workspace = self._log.parent / name
        known = {f"vars.{name}": value for name, value in VARIABLES.items()}
        known |= {f"needs.plan.outputs.{name}": value for name, value in self._outputs.items()}
        known["github.event.before || 'HEAD~1'"] = before
        for step in filter(lambda step: self._holds(step.get("if")), steps):
            if "uses" in step:
                self._use(step["uses"].partition("@")[0], workspace)
            else:
                # A value is `${{ expression }}`, and nothing else.
                given = {name: known[text[4:-3]] for name, text in step.get("env", {}).items()}
                if not self._run(step, workspace, given | environment):
                    return False
        return True

    def _use(self, action: str, workspace: Path) -> None:
        if action == "actions/checkout":
            self.project.git("clone", "--quiet", "--no-local", str(self.project.folder), str(workspace))
            install(workspace)
        elif action == "google-github-actions/auth":
            (workspace / "gha-creds-0.json").write_text("{}")
        else:
            assert action in ACTIONS_WITHOUT_TRACE

    def _run(self, step: dict[str, Any], workspace: Path, given: dict[str, str]) -> bool:
        output = workspace.with_suffix(".output")
        output.write_text("")
        # Nor does a runner know what the suite was started with: make hands its ARGS down.
        ours = ("SLIPWAY_", "PYTEST_", "MAKE", "MFLAGS", "ARGS")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        files = {"CALLS": self._log, "GITHUB_OUTPUT": output, "GITHUB_STEP_SUMMARY": workspace.with_suffix(".md")}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=workspace,
            env=inherited
            | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(workspace)}
            | {name: str(path) for name, path in files.items()}
            | given,
            check=False,
        )
        if step.get("id") == "plan":
            self._outputs = {"staging": "", "production": ""}
            self._outputs |= dict(line.split("=", 1) for line in output.read_text().splitlines())
        return done.returncode == 0

    def _holds(self, condition: str | None) -> bool:
        """What GitHub makes of `needs.plan.outputs.staging != ''`, alone or with `||`."""
        if condition is None:
            return True
        names = [re.fullmatch(r"needs\.plan\.outputs\.(\w+) != ''", part) for part in condition.split(" || ")]
        assert all(names), condition
        return any(self._outputs[name[1]] for name in names if name)
