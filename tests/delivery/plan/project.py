"""A small project in a real Git repository: a path of each class, commits whose ids are always the same."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from delivery.plan.fingerprints import Place
from delivery.plan.planner import Plan, plan_revision
from delivery.plan.tree import Repository
from delivery.registry import ImageRegistry

ZEROS = "0" * 40
IMAGE = "slipway/storage.py"
MODEL = "modules/taxi/model.py"
NEW_MODEL = "def build_model(features, hyperparameters):\n    return 'new'\n"
PIPELINE = "pipelines/training.py"
CONFIG = "contract: 1\ntask: regression\nlabel: {column: price}\ndata: gs://bucket/rows.csv\n"
FILES = {
    IMAGE: "BLOCK_BYTES = 1\n",
    PIPELINE: "NAME = 'training'\n",
    "Dockerfile": "FROM scratch\n",
    "README.md": "A project.\n",
    "tests/test_it.py": "",
    "settings/base.yaml": "{}\n",
    "settings/staging.yaml": "{}\n",
    "settings/production.yaml": "{}\n",
    "manifests/base/deployment.yaml": "kind: Deployment\n",
    "manifests/overlays/staging/kustomization.yaml": "resources: [../../base]\n",
    "manifests/overlays/production/kustomization.yaml": "resources: [../../base]\n",
    "manifests/rollout-access/staging/role.yaml": "kind: Role\n",
} | {
    f"modules/{name}/{file}": content
    for name in ("taxi", "wine")
    for file, content in {
        "module.yaml": CONFIG,
        "preprocessing.py": "def preprocessing_fn(inputs):\n    return inputs\n",
        "model.py": f"def build_model(features, hyperparameters):\n    return {name!r}\n",
    }.items()
}
LOCK = "modules/taxi/requirements.lock"
# Of the numpy that is there, as if the image lacked it.
REQUIRED: dict[str, str | None] = {
    "modules/taxi/module.yaml": f"{CONFIG}requirements: [numpy>=1]\n",
    LOCK: "# `slipway module lock` made this file. Requirements: numpy>=1\n"
    f"numpy=={version('numpy')} \\\n    --hash=sha256:{'0' * 64}\n",
    "image/module.Dockerfile": "ARG BASE\nFROM ${BASE}\n",
    "requirements-uv.lock": "uv==1\n",
}
STAGING = Place("staging", "staging", registry=ImageRegistry("registry.example/team/slipway"))


class Project:
    """A checkout, and what is committed into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder)
        self._commits = 0
        if not folder.is_dir():
            folder.mkdir(parents=True)
            self.git("init", "--quiet", "--initial-branch=main", "--template=")

    def git(self, *arguments: str) -> str:
        """Runs Git, untouched by the machine's settings and the time of day."""
        moment = f"2026-01-01T00:00:{self._commits % 60:02}Z"
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": moment,
            "GIT_COMMITTER_DATE": moment,
            **{f"GIT_{who}_{what}": f"{what}@example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    def write(self, path: str, content: str) -> None:
        """Writes a file, not committed."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(content)

    def commit(self, changes: dict[str, str | None] | None = None) -> str:
        """Writes files (None removes one), commits all, and gives the commit's id."""
        for path, content in (changes or {}).items():
            if content is None:
                (self.folder / path).unlink()
            else:
                self.write(path, content)
        self._commits += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"Commit {self._commits}")
        return self.git("rev-parse", "HEAD")

    def plan(
        self,
        base: str | None = None,
        head: str = "HEAD",
        place: Place = STAGING,
        *,
        registry: ImageRegistry | None = None,
        home: str = "",
    ) -> Plan:
        """The plan; it looks nothing up unless there is a registry or a home."""
        if not (registry or home):
            return plan_revision(self.repository, place, base=base, head=head, offline=True)
        return plan_revision(self.repository, replace(place, registry=registry, home=home), base=base, head=head)


def done(plan: Plan) -> tuple[bool, list[str], list[str]]:
    """Whether the image is built, and for which modules something is synced and submitted."""
    return plan.image, plan.modules, plan.pipelines


def why(plan: Plan, subject: str) -> str:
    """The reason that a plan gives for a subject."""
    return next(reason.why for reason in plan.reasons if reason.subject == subject)
