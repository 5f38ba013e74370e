"""What all parts of `module.yaml` share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Task = Literal["binary", "multiclass", "regression"]
Better = Literal["high", "low"]
MetricName = Literal[
    "auc", "auc_pr", "log_loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1",
    "calibration", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r_squared",
    "mean_prediction", "mean_label", "example_count",
]  # fmt: skip


class Strict(BaseModel):
    """A part of `module.yaml`: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
