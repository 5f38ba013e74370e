"""The loop on this machine: a real model, its requests in the log, drift, and the training that follows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.predictor import Predictor
from slipway.data.tensors import MISSING_INT
from tests.e2e.workspace import Workspace
from tests.request_windows import write_requests

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
FLOAT, INT = 1, 9  # TensorFlow's numbers of its types
QUICK = ("--set", "training.epochs=1", "--set", "thresholds=[{metric: auc, min: 0.6}]")
ANEW = ("--set", "training.seed=43")  # other bytes, which the store does not know


def sampled(workspace: Workspace, model: Predictor) -> list[dict[str, Any]]:
    """Trips of the sample as a client would send them, with what the label needs."""
    [path] = workspace.home.glob("samples/*/taxi.csv")
    kinds: dict[int, Callable[[str], Any]] = {FLOAT: float, INT: lambda text: int(float(text))}
    inputs = model.inputs("raw")
    with path.open(newline="") as file:
        return [
            {
                name: kinds.get(inputs[name].dtype, str)(text) if name in inputs else float(text)
                for name, text in row.items()
                if text and (name in inputs or name == "tips")
            }
            for row in list(csv.DictReader(file))[:3000]
        ]


def answers(model: Predictor, rows: list[dict[str, Any]]) -> list[float]:
    empty = {FLOAT: (np.nan, np.float32), INT: (MISSING_INT, np.int64)}
    columns = {}
    for name, info in model.inputs("raw").items():
        missing, kind = empty.get(info.dtype, ("", object))
        values = [row.get(name, missing) for row in rows]
        columns[name] = np.array([one.encode() if kind is object else one for one in values], kind)
    return [float(one) for one in model.predict(columns).reshape(-1)]


@pytest.mark.slow
def test_drift_trains_a_new_version(workspace: Workspace, tmp_path: Path) -> None:
    workspace.slipway("run", "taxi", *QUICK)
    version = workspace.last_run()["pushed_version"]
    model = Predictor(workspace.home / "models" / "taxi" / str(version))
    rows, labels = sampled(workspace, model), []
    for day, factor in enumerate((1, 3, 3)):
        part = [dict(row) for row in rows[day * 1000 : day * 1000 + 1000]]
        told = [(row.pop("tips"), row["fare"]) for row in part]
        for row in part:
            row["trip_miles"] *= factor
        start = FIRST + day * timedelta(days=1)
        ids = write_requests(tmp_path / "log", "taxi", version, start, part, answers(model, part), seconds=80_000)
        labels += [f"{name},{tips},{fare}" for name, (tips, fare) in zip(ids, told, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["request_id,tips,fare", *labels]) + "\n")

    def monitor(day: int) -> dict[str, Any]:
        watched = (
            "--log",
            str(tmp_path / "log"),
            "--set",
            f"monitoring.labels={tmp_path / 'labels.csv'}",
            *QUICK,
            *ANEW,
        )
        window = f"{FIRST + day * timedelta(days=1):%Y-%m-%d}"
        done: dict[str, Any] = json.loads(
            workspace.slipway("monitor", "run", "taxi", "--window", window, "--json", *watched).stdout
        )
        return done

    assert [monitor(day)["verdict"] for day in (0, 1)] == ["stable", "drift"]
    last = monitor(2)
    assert last["verdict"] == "retrained"
    assert last["training"]["verdict"] == "pushed"
    assert last["training"]["pushed_version"] > version
    assert monitor(2)["training"] is None

    said = workspace.slipway("explain", "taxi/2026-03-03").stdout
    assert "retrained" in said
    assert "trip_miles drifted" in said
    assert "2026-03-02" in said
    history = json.loads(workspace.slipway("monitor", "history", "taxi", "--json").stdout)
    assert [one["verdict"] for one in history] == ["retrained", "drift", "stable"]
    auc = next(one for one in history[0]["performance"][0]["scores"] if one["metric"] == "auc")
    assert auc["interval"][0] < auc["value"] < auc["interval"][1]
    assert abs(auc["value"] - auc["evaluated"]) < 0.1
