"""Searches for the hyperparameters of a tiny module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.train_model.config import TrainConfig
from components.tune_model.run import TuneConfig, tune
from slipway.compute import Distribution
from slipway.lineage import Lineage
from slipway.runs.record import RunContext
from slipway.tuning.result import TuningFile
from tests.shapes import MODULE, Artifacts, publish, train_parameters

SPACE = {
    "learning_rate": {"min": 0.001, "max": 0.1, "log": True},
    "units": {"min": 4, "max": 16},
    "training.epochs": {"min": 1, "max": 2},
}
TUNING = {"trials": 2, "metric": "accuracy", "folds": 1}
MODEL = (MODULE / "model.py").read_text(encoding="utf-8")


def search(
    artifacts: Artifacts,
    folder: Path,
    space: dict[str, Any] | None = None,
    model: str = MODEL,
    own: dict[str, Any] | None = None,
    accelerator: str = "",
    **tuning: Any,
) -> TuningFile:
    """`own` are hyperparameters in the place of module.yaml's."""
    config = TrainConfig.model_validate_json(train_parameters(epochs=2))
    lineage = Lineage(run="r", module="shapes", module_digest="d", data_uri="rows.csv")
    return tune(
        artifacts.graph,
        artifacts.transformed,
        publish(artifacts.folder, model=model).model_uri,
        config.model_copy(update={"hyperparameters": {**config.hyperparameters, **(own or {})}}),
        TuneConfig.model_validate({"search_space": SPACE if space is None else space, "tuning": TUNING | tuning}),
        Distribution(),
        accelerator,
        str(folder / "tuning"),
        RunContext(uri=str(folder / "run"), lineage=lineage),
    )
