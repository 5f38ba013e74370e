"""A run that is killed while it trains goes on where it was."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.workspace import SLIPWAY, Workspace

# Without early stopping, training is long enough to be hit.
ENDLESS = ("--set", "training.epochs=30", "--set", "training.patience=0")


def wait_for(text: str, log: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and text in log.read_text(errors="replace"):
            return
        time.sleep(0.05)
    raise AssertionError(f"{text!r} did not appear in {log}")


def running(workspace: Workspace) -> tuple[subprocess.Popen[str], Path]:
    """A run that has trained for two epochs, and its log of training."""
    process = subprocess.Popen(
        [SLIPWAY, "run", *ENDLESS],
        env=workspace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (runs := sorted(workspace.home.glob("runs/*"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    log = runs[-1] / "logs" / "train_model.log"
    wait_for("epoch 2/30", log, process)
    return process, log


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_with_its_training_killed_fails_plainly_and_resumes(workspace: Workspace) -> None:
    process, _ = running(workspace)
    (training,) = [
        child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "train_model"
    ]
    training.kill()
    screen, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "killed by SIGKILL" in screen
    assert workspace.last_run()["state"] == "failed"

    workspace.slipway("run", *ENDLESS)
    run = workspace.last_run()
    assert workspace.states()["transform_features"] == "cached"
    log = workspace.home / "runs" / run["run"] / "logs" / "train_model.log"
    assert "resumed after epoch" in log.read_text(errors="replace")
    assert run["verdict"] == "pushed", run["reasons"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_killed_itself_is_told_as_interrupted_and_leaves_no_version(workspace: Workspace) -> None:
    process, _ = running(workspace)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert workspace.last_run()["state"] == "interrupted"
    assert workspace.slipway("models", "list", "--json").stdout.strip() == "[]"
