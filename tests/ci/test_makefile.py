import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"


@pytest.mark.parametrize("version", ["3.10.13", "3.14.0"])
def test_make_refuses_another_python_before_it_makes_an_environment(tmp_path: Path, version: str) -> None:
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "requirements-uv.lock").touch()
    python = tmp_path / "python3.x"
    pretend = (
        f"import sys; sys.version, sys.version_info = '{version}', ({version.replace('.', ',')}); exec(sys.argv[1])"
    )
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {shlex.quote(sys.executable)} -c "{pretend}" "$2"\nmkdir .venv\n'
    )
    python.chmod(0o755)

    made = subprocess.run(
        ["make", f"PYTHON={python}", ".venv/.uv"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert made.returncode
    assert f"{python} is {version}" in made.stderr
    assert "3.11" in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_image_builds_for_the_platform_that_tensorflow_has_packages_for() -> None:
    """An Apple laptop would build for arm64; `slipway deploy` says the same, in tests/delivery/test_deploy.py."""
    made = subprocess.run(["make", "-n", "image"], cwd=MAKEFILE.parent, capture_output=True, text=True, check=True)
    assert "docker build --platform linux/amd64 " in made.stdout


@pytest.mark.parametrize(("given", "wanted"), [
    ([], "slipway run taxi"),
    (["MODULE=digits"], "slipway run digits"),
    (["MODULE=loan", "DATA=my loans.csv"], 'slipway run loan --data "my loans.csv"'),
])  # fmt: skip
def test_make_run_takes_a_module_and_data(given: list[str], wanted: str) -> None:
    made = subprocess.run(
        ["make", "-n", "run", *given], cwd=MAKEFILE.parent, capture_output=True, text=True, check=True
    )
    assert wanted in " ".join(made.stdout.split())
