"""`history.json`: loss and metrics by epoch, written by train_model and drawn in the report."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from slipway.stores.artifacts import read_json

HISTORY = "history.json"
# What train_model logs of each epoch as it ends; the history is written after the last.
EPOCH_LINE = "epoch %d/%d: loss %.4f, val_loss %.4f%s, %.2f s"
_LOGGED = re.compile(r"epoch (\d+)/(\d+): loss (\S+), val_loss (\S+?)(?: \(best\))?, (\S+) s\b")


class Epoch(BaseModel):
    """One epoch; `metrics` are those that the module compiled its model with, `val_` on the rows held back."""

    epoch: int
    loss: float
    val_loss: float
    metrics: dict[str, float] = {}
    seconds: float


class History(BaseModel):
    """The content of `history.json`. `stopped` is the reason for the end; the weights of `best_epoch` were kept."""

    epochs: list[Epoch] = []
    best_epoch: int = 0
    stopped: Literal["running", "early_stopping", "epochs"] = "running"
    resumed_after_epoch: int | None = None
    parameters: int = 0
    train_rows: int = 0
    validation_rows: int = 0
    seconds: float = 0.0

    def scalars(self, training: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """What Kubeflow's UI lists and compares, by name: so the results come before the hyperparameters."""
        best = next((one.val_loss for one in self.epochs if one.epoch == self.best_epoch), None)
        return {
            "best_epoch": self.best_epoch,
            "best_validation_loss": best,
            "epochs": len(self.epochs),
            "fit_seconds": self.seconds,
            "hyperparameters": hyperparameters,
            "parameters": self.parameters,
            "training": training,
        }


def read_history(folder: str | Path) -> History:
    """The history in a training log; StoreError if there is none, or it is damaged."""
    return read_json(folder, HISTORY, History, "train_model")


def read_logged(log: str) -> tuple[list[Epoch], int]:
    """The epochs that a log of train_model tells of, and how many there will be at most."""
    found = _LOGGED.findall(log)
    epochs = [
        Epoch(epoch=int(number), loss=float(loss), val_loss=float(held_back), seconds=float(seconds))
        for number, _, loss, held_back, seconds in found
    ]
    return epochs, int(found[-1][1]) if found else 0
