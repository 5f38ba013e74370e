"""`modules/digits/self_tuning.yaml`: a crippled LeNet on real digits tunes itself until its target is met."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.workspace import Workspace, make_workspace

pytestmark = pytest.mark.slow
REAL_DATA = os.environ.get("SLIPWAY_REAL_DATA")
# That of two cores in five minutes is 600.
CPU_SECONDS = 400


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The digits module with the other module.yaml, as its first lines say."""
    workspace = make_workspace(tmp_path, "digits")
    module = (workspace.modules / "digits").rename(workspace.modules / "lenet")
    (module / "self_tuning.yaml").rename(module / "module.yaml")
    return workspace


@pytest.mark.skipif(REAL_DATA is None, reason="SLIPWAY_REAL_DATA names no folder with mnist/")
def test_a_crippled_lenet_meets_its_target_by_itself(workspace: Workspace) -> None:
    data = str(Path(str(REAL_DATA)) / "mnist")
    # A busy machine may take longer: the processors' seconds count below.
    workspace.slipway("run", "lenet", "--data", data, "--set", "tuning.seconds=1500", seconds=2400)
    run = workspace.last_run()
    assert run["verdict"] == "pushed", run["reasons"]
    tuning = json.loads((workspace.home / "runs" / run["run"] / "tuning.json").read_text())
    assert tuning["tuned"]["ended"] == "target"
    assert tuning["tuned"]["own"] < 0.95, "one convolution, one epoch"
    assert tuning["tuned"]["value"] >= 0.985, "by further seeds"
    assert any("target was met" in reason for reason in run["reasons"])
    assert run["metrics"]["accuracy"] >= 0.982, "on digits that the search never saw"
    spent = {step["name"]: step["cpu_seconds"] for step in run["steps"]}
    assert spent["tune_model"] < CPU_SECONDS
    history = json.loads(next(workspace.home.glob("artifacts/*/train-model/training_log/history.json")).read_text())
    assert history["validation_rows"] >= 1_000
