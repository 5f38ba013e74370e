"""The README's first commands, as printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from settings.load import PROJECT
from tests.docs.pages import shell_blocks


@pytest.mark.slow
def test_readme_five_minutes_work_in_order(tmp_path: Path) -> None:
    [block] = [block for block in shell_blocks(PROJECT / "README.md") if "gate selftest" in block]
    activate, *lines = block.splitlines()
    assert activate == "source .venv/bin/activate"  # here: the environment of the tests
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "SLIPWAY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (tmp_path / "training.yaml").is_file()
