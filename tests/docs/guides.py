"""The shell statements of the guides; those that make and take down a project's and a cluster's things are run here."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

from settings.load import PROJECT
from tests.docs.not_run import reason
from tests.docs.pages import shell_blocks

TYPED = "typed-by-the-reader"  # where a command asks for a secret
PAGES = ("kubeflow", "monitoring", "operations", "rollouts", "vertex")


@cache
def statements(page: str) -> list[str]:
    """The statements of a page's shell blocks, each in one line but for loops and here-documents, without comments."""
    found, lines = list[str](), list[str]()
    for line in (line for block in shell_blocks(PROJECT / "docs" / f"{page}.md") for line in block.splitlines()):
        lines.append(re.sub(r"(^|  )#.*$", "", line).rstrip())
        text = "\n".join(lines)
        parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        if not text.endswith("\\") and not parsed.stderr:
            found += [re.sub(r"\\\n\s*", "", text)] if text else []
            lines = []
    assert not lines, lines
    return found


def inline(page: str) -> list[str]:
    """Commands in a page's sentences that one can copy: with an option, a path or a variable."""
    text = re.sub(r"```.*?```", "", (PROJECT / "docs" / f"{page}.md").read_text(), flags=re.DOTALL)
    programs = "docker|gcloud|git|kubectl|make|skopeo|slipway|terraform"
    commands = [" ".join(one.split()) for one in re.findall(rf"`((?:{programs}) [^`]+)`", text)]
    return [one for one in commands if re.search(r" -\w?|[/$]", one)]


def copied(page: str, start: str) -> str:
    """The command of a page that begins so, for a test that runs it."""
    return next(one for one in [*statements(page), *inline(page)] if one.startswith(start))


def of_the_target(page: str) -> list[str]:
    """Statements for the fake server of the page's target."""
    return [one for one in statements(page) if one.startswith("slipway ") and f"--target {page} --env staging" in one]


def of_the_project(page: str) -> list[str]:
    """Statements for the stand-in of gcloud, the real kubectl, or the shell itself."""
    others = ("slipway ", "make ", "source ", "git ", "pip ", "terraform ")
    return [one for one in statements(page) if not one.startswith(others) and reason(one) is None]


def run_project(chosen: list[str], folder: Path) -> None:
    """Runs statements in one shell, in which gcloud is the stand-in; the first that fails ends it."""
    programs = folder / "bin"
    programs.mkdir()
    stand_in = shlex.join([sys.executable, str(PROJECT / "tests" / "fakes" / "google_project.py")])
    (programs / "gcloud").write_text(f'#!/bin/sh\nexec {stand_in} "$@"\n')
    (programs / "gcloud").chmod(0o755)
    (folder / "manifests").symlink_to(PROJECT / "manifests")
    (folder / "infrastructure").mkdir()
    (folder / "infrastructure" / "s3").symlink_to(PROJECT / "infrastructure" / "s3")
    (folder / "Dockerfile").symlink_to(PROJECT / "Dockerfile")
    given = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "GOOGLE_PROJECT_FILE": str(folder / "project.json"),
    }
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(chosen)],
        cwd=folder, env=given, input=f"{TYPED}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
