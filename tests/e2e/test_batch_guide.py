"""The commands of docs/batch_prediction.md, as printed, after a training."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from settings.load import PROJECT
from tests.docs.pages import shell_blocks


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_guide_work_in_order(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    lines = [
        "slipway run --set 'thresholds=[{metric: auc, min: 0.5}]' --set training.epochs=1 "
        "--set hyperparameters.members=1",
        f"cp {tmp_path}/home/samples/*/taxi.csv trips.csv",
    ]
    lines += [line for block in shell_blocks(PROJECT / "docs" / "batch_prediction.md") for line in block.splitlines()]
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "SLIPWAY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    rows = list(csv.DictReader((tmp_path / "trips.csv").read_text().splitlines()))
    answers = pq.read_table(tmp_path / "scores" / "part-00000.parquet")
    manifest = json.loads((tmp_path / "scores" / "manifest.json").read_text())
    assert answers.num_rows == manifest["predicted"] == len(rows) - manifest["quarantined"]
    assert {"fare", "tips", "class", "score_false", "score_true", "model_version"} <= set(answers.column_names)
    [header, *others] = (tmp_path / "scores.csv").read_text().splitlines()
    assert header == '"tips","class","score_false","score_true","model_version"'
    assert len(others) == answers.num_rows
