"""The commands of docs/ci.md, as GitLab and Jenkins run them: a push is deployed; again, nothing is left to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from settings.load import PROJECT
from tests.delivery.plan.project import FILES, Project
from tests.docs.pages import shell_blocks
from tests.fakes.docker import write_docker
from tests.fakes.image_registry import FakeRegistry
from tests.fakes.kubeflow import FakeKubeflow

PAGE = PROJECT / "docs" / "ci.md"
OF_THE_PAGE = "registry.example.com"


def of_gitlab() -> list[str]:
    [text] = re.findall(r"```yaml\n(# \.gitlab-ci\.yml\n.*?)```", PAGE.read_text(), flags=re.DOTALL)
    described = yaml.safe_load(text)
    assert described["plan"]["artifacts"]["paths"] == ["plan.json"]
    before = described["default"]["before_script"]
    return [line for stage in described["stages"] for line in [*before, *described[stage]["script"]]]


def of_jenkins() -> list[str]:
    return re.findall(r"^ +sh '(.*)'$", PAGE.read_text(), flags=re.MULTILINE)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("ci", ["the page", "gitlab", "jenkins"])
@pytest.mark.usefixtures("remote_home")
def test_the_commands_deploy_a_push(
    ci: str, registry: FakeRegistry, kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.plan = ["SUCCEEDED"]
    project = Project(tmp_path / "project")
    project.commit({**FILES, ".gitignore": ".venv/\nplan.json\n__pycache__/\n", "Makefile": ".venv/.installed:\n"})
    (project.folder / ".venv" / "bin").mkdir(parents=True)
    (project.folder / ".venv" / "bin" / "slipway").symlink_to(Path(sys.executable).parent / "slipway")
    (project.folder / ".venv" / ".installed").touch()
    write_docker(tmp_path / "bin", tmp_path / "docker.log")
    for name in ("SLIPWAY_IMAGE", "SLIPWAY_ENV"):
        monkeypatch.delenv(name, raising=False)
    given = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "SLIPWAY_DELIVERY__IMAGE_REPOSITORY": registry.repository,
        "SLIPWAY_MODULES": str(project.folder / "modules"),
        "SLIPWAY_SERVING__OVERLAY": "''",
        **dict.fromkeys(("BASE", "CI_COMMIT_BEFORE_SHA"), "0" * 40),
        "GIT_PREVIOUS_COMMIT": project.git("rev-parse", "HEAD"),
        **dict.fromkeys(("REGISTRY_USER", "REGISTRY_USR"), "ann"),
        **dict.fromkeys(("REGISTRY_PASSWORD", "REGISTRY_PSW"), "secret"),
    }
    lines = {"the page": shell_blocks(PAGE)[0].splitlines(), "gitlab": of_gitlab(), "jenkins": of_jenkins()}[ci]
    assert [word for line in lines for word in ("slipway plan", "slipway deploy") if word in line] == [
        "slipway plan", "slipway deploy",
    ]  # fmt: skip
    script = "\n".join(lines).replace(OF_THE_PAGE, registry.repository.partition("/")[0])
    registry.login = "ann:secret" if "docker login" in script else ""
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], cwd=project.folder, env=given, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(kubeflow.runs) == 2
    assert json.loads((project.folder / "plan.json").read_text())["commands"] == []
    assert len(registry.tags) == 1
