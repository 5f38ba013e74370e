"""Scalars as Kubeflow takes them."""

import json
import math
from pathlib import Path
from typing import Any

from kfp import dsl

from components.scalars import log_scalars
from slipway.runs.training_log import Epoch, History
from tests.fakes.kubeflow.artifacts import scalar_pages, to_property


def log(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    metrics = dsl.Metrics(uri=str(folder / "metrics"))
    log_scalars(metrics, values)
    # kfp.local caches a step only if all its outputs are files.
    written: dict[str, Any] = json.loads((folder / "metrics").read_text())
    assert written == metrics.metadata
    return {name: to_property(value) for name, value in written.items()}


def test_scalars_are_finite_numbers_only(tmp_path: Path) -> None:
    values = {
        "a": 1,
        "b": True,
        "c": None,
        "d": math.nan,
        "e": -math.inf,
        "f": "adam",
        "g": {"h": [64, [0.5]]},
        "i": {},
    }
    logged = log(tmp_path, values)
    assert logged == {"a": 1.0, "b": 1.0, "g.h.0": 64.0, "g.h.1.0": 0.5}
    scalar_pages(logged)


def test_scalars_of_training_begin_with_its_results_however_many_hyperparameters_there_are(tmp_path: Path) -> None:
    epochs = [
        Epoch(epoch=number, loss=0.5, val_loss=loss, seconds=1) for number, loss in ((1, 0.4), (2, 0.3), (3, 0.6))
    ]
    history = History(epochs=epochs, best_epoch=2, seconds=3.5, parameters=9)
    given = {"seed": 7}, {f"layer_{number}": number for number in range(20)}
    logged = log(tmp_path, history.scalars(*given))
    assert scalar_pages(logged)[0][:4] == ["best_epoch", "best_validation_loss", "epochs", "fit_seconds"]
    assert [logged[name] for name in ("best_epoch", "best_validation_loss", "epochs", "fit_seconds")] == [
        2,
        0.3,
        3,
        3.5,
    ]
    assert (logged["hyperparameters.layer_19"], logged["training.seed"]) == (19, 7)
