"""Pruning between real runs: a step is served from the cache only where its artifacts are still there."""

import json
from pathlib import Path

import pytest

from tests.e2e.workspace import Workspace

ONE_EPOCH = ("--set", "training.epochs=1")
TWO_EPOCHS = ("--set", "training.epochs=2")
REFUSED = ("--set", "thresholds=[{metric: auc, min: 0.999}]")
PUSHED = ("--set", "thresholds=[{metric: auc, min: 0.1}]")
DATA_STEPS = {"ingest_examples", "compute_statistics", "infer_schema", "validate_examples", "transform_features"}


def cached(workspace: Workspace) -> set[str]:
    return {name for name, state in workspace.states().items() if state == "cached"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_after_a_prune_is_served_what_was_kept_and_makes_the_rest_anew(workspace: Workspace) -> None:
    workspace.slipway("run", *ONE_EPOCH, *REFUSED)
    first = workspace.last_run()
    workspace.slipway("run", *TWO_EPOCHS, *PUSHED)
    second = workspace.last_run()
    assert second["verdict"] == "pushed", second["reasons"]
    assert first["artifacts"]["examples"] == second["artifacts"]["examples"]

    pruned = json.loads(workspace.slipway("runs", "prune", "--keep", "1", "--json").stdout)
    assert [Path(run).name for run in pruned["runs"]] == [first["run"]]
    assert not Path(first["artifacts"]["model"]).exists()
    assert all(Path(uri).exists() for uri in second["artifacts"].values())
    version = f"taxi/{second['pushed_version']}"
    assert second["run"] in workspace.slipway("explain", version).stdout

    workspace.slipway("run", *TWO_EPOCHS, *PUSHED)
    assert cached(workspace) >= DATA_STEPS | {"train_model", "validate_serving"}
    workspace.slipway("run", *ONE_EPOCH, *REFUSED)
    assert workspace.last_run()["verdict"] == "refused"
    assert cached(workspace) == DATA_STEPS
