"""Runs the commands of docs/data_versions.md, section by section, as somebody who copies them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from settings.load import PROJECT

PAGE = (PROJECT / "docs" / "data_versions.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
KEEP, COMPARE = "Keep data, and train on them", "Compare and prune"
REPEAT, DVC = "Repeat a run", "From DVC, and back"

Shell = Callable[[str], str]


def commands(section: str) -> str:
    return "".join(re.findall(r"```sh\n(.*?)```", SECTIONS[section], flags=re.DOTALL))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs lines in a folder with two files of trips; answers what they print."""
    folder, programs = tmp_path / "project", Path(sys.executable).parent
    folder.mkdir()
    dvc = Path(os.environ.get("SLIPWAY_DVC", "")).parent
    path = os.pathsep.join(map(str, (programs, dvc, os.environ["PATH"])))
    own = {"SLIPWAY_HOME": str(tmp_path / "home"), "SLIPWAY_MODULES": str(PROJECT / "modules"), "PATH": path}
    whose = {f"GIT_{role}_{what}": "t@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **own, **whose, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}

    def run(lines: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail"], input=lines, cwd=folder, env=environment, capture_output=True, text=True,
            check=False, timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    for name, factor in (("trips.csv", 1.0), ("newer.csv", 1.5)):
        rows = [f"{factor * (number % 40)},{number % 3}" for number in range(500)]
        (folder / name).write_text("\n".join(["fare,tips", *rows]) + "\n")
    return run


@pytest.mark.slow
def test_data_are_kept_compared_and_pruned(shell: Shell) -> None:
    kept = shell(commands(KEEP))
    assert "snapshot:trips-2026-11 is new: 1 files" in kept
    assert "snapshot:trips-2026-11 was there, with the same data" in kept
    compared = shell(commands(COMPARE))
    assert re.search(r"^fare +float +float .*moved", compared, flags=re.MULTILINE)
    assert "would remove trips-2026-11: nothing names it" in compared
    assert "kept trips-2026-12: it is younger than 30 days" in compared


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_is_repeated_to_the_digit(shell: Shell) -> None:
    """The taxi model, as it is."""
    write = "import sample, pathlib; sample.write_sample(pathlib.Path('trips.csv'))"
    shell(f'cp {PROJECT}/modules/taxi/sample.py . && python -c "{write}"')
    shell("slipway data snapshot trips.csv --name trips-2026-11")
    first, again = commands(REPEAT).strip().splitlines()
    shell(first)
    told = shell(again)
    assert re.search(r"^again +the metrics of taxi-\S+, to the last digit$", told, flags=re.MULTILINE)
    assert "not pushed: it repeats another run" in told


def test_project_of_dvc_is_moved_over_and_back(shell: Shell) -> None:
    if not os.environ.get("SLIPWAY_DVC"):
        pytest.skip("SLIPWAY_DVC is not set: the path of the program dvc; .ci/run installs it")
    shell(
        "git init -q && dvc init -q && dvc remote add -d storage ../remote && mkdir data && cp trips.csv data/\n"
        "dvc add -q data/trips.csv && dvc push -q && git add -A && git commit -qm one && git tag v1\n"
        "cp newer.csv data/trips.csv && dvc add -q data/trips.csv && dvc push -q && git commit -qam two && git tag v2\n"
        "rm -rf .dvc/cache data/trips.csv\n"
    )
    shell("slipway data snapshot newer.csv --name trips-2026-11")
    moved = shell(commands(DVC))
    assert "snapshot:trips-v1 was there, with the same data" in moved
    assert "snapshot:trips-v2 is new" in moved
    assert shell("cmp trips.csv trips-v1.csv && cat trips-v1.csv.dvc").startswith("outs:")
