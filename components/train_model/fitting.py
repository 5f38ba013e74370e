"""Fitting a model: early stopping, history and checkpoints together, so that a resumed training is the same one."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import keras
from numpy.typing import NDArray
from pydantic import BaseModel

from components.train_model.checkpoints import Checkpoints
from components.train_model.dataset import TrainingData
from slipway.errors import ModuleError, TrainingError
from slipway.module_api import Training
from slipway.runs.training_log import Epoch, History

log = logging.getLogger(__name__)

Weights = list[NDArray[Any]]


class _State(BaseModel):
    """What the training knows besides its variables."""

    history: History = History()
    best_loss: float = math.inf
    waited: int = 0


class _Monitor(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """After each epoch: records, compares, checkpoints, stops."""

    def __init__(self, training: Training, checkpoints: Checkpoints, state: _State) -> None:
        super().__init__()
        self._training, self._checkpoints, self.state = training, checkpoints, state
        self._best: Weights = []
        self._started = time.perf_counter()

    def resume(self) -> None:
        """Goes on after the newest checkpoint that fits the model."""
        found = [(_State.model_validate_json(text), arrays) for text, arrays in self._checkpoints.load()]
        for state, arrays in sorted(found, key=lambda one: -len(one[0].history.epochs)):
            variables = [arrays.get(f"v{index}") for index in range(len(self._variables))]
            if [getattr(value, "shape", None) for value in variables] != [tuple(v.shape) for v in self._variables]:
                log.warning("a checkpoint does not fit the model and is left out")
                continue
            for variable, value in zip(self._variables, variables, strict=True):
                variable.assign(value)
            self._best = [arrays[f"b{index}"] for index in range(len(self.model.weights))]
            self.state = state
            self.state.history.resumed_after_epoch = len(state.history.epochs)
            log.info("resumed after epoch %d", len(state.history.epochs))
            return

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        record = _record(epoch + 1, logs or {}, time.perf_counter() - self._started)
        self.state.history.epochs.append(record)
        better = record.val_loss < self.state.best_loss
        if better:
            self.state.best_loss, self.state.waited = record.val_loss, 0
            self.state.history.best_epoch = record.epoch
            self._best = [weight.value.numpy().copy() for weight in self.model.weights]
        else:
            self.state.waited += 1
        log.info(
            "epoch %d/%d: loss %.4f, val_loss %.4f%s, %.2f s",
            *(record.epoch, self._training.epochs, record.loss, record.val_loss),
            *(" (best)" if better else "", record.seconds),
        )
        if 0 < self._training.patience <= self.state.waited:
            self.state.history.stopped = "early_stopping"
            self.model.stop_training = True
        elif record.epoch == self._training.epochs:
            self.state.history.stopped = "epochs"
        self._save(record.epoch)

    def restore_best(self) -> None:
        """Gives the model the weights of its best epoch."""
        self.model.set_weights(self._best)

    @property
    def _variables(self) -> list[Any]:
        """Weights, the optimizer's moments, and the state of the random generators of dropout and the like."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def _save(self, epoch: int) -> None:
        if not self._checkpoints.writable:
            return
        arrays = {f"v{index}": value.value.numpy() for index, value in enumerate(self._variables)}
        arrays |= {f"b{index}": weight for index, weight in enumerate(self._best)}
        self._checkpoints.save(epoch, arrays, self.state.model_dump_json())


def fit(model: keras.Model, data: TrainingData, training: Training, checkpoints: Checkpoints) -> History:
    """Trains until the validation loss stops falling; leaves the best epoch's weights in the model.

    Args:
        model: Compiled.
        data: The training split.
        training: Epochs, batch size, patience, seed.
        checkpoints: Where to go on from and to save to.

    Raises:
        TrainingError: the loss is no longer a number.
        ModuleError: the model cannot be trained on this data.
    """
    started = time.perf_counter()
    monitor = _Monitor(training, checkpoints, _State())
    monitor.set_model(model)
    monitor.resume()
    done = len(monitor.state.history.epochs)
    if monitor.state.history.stopped == "running":
        try:
            model.fit(
                data.training_batches(training.batch_size, training.seed, done, training.epochs),
                initial_epoch=done,
                epochs=training.epochs,
                steps_per_epoch=data.steps(training.batch_size),
                validation_data=data.validation_batches(),
                callbacks=[monitor],
                shuffle=False,
                verbose=0,
            )
        except (ValueError, TypeError) as error:
            raise ModuleError(f"model.py: the model cannot be trained on these features: {error}") from error
    monitor.restore_best()
    history = monitor.state.history
    history.parameters = model.count_params()
    history.train_rows, history.validation_rows = len(data.train), len(data.validation)
    history.seconds = time.perf_counter() - started
    return history


def _record(epoch: int, logs: dict[str, Any], seconds: float) -> Epoch:
    values = {name: float(value) for name, value in logs.items()}
    for name in ("loss", "val_loss"):
        if not math.isfinite(values[name]):
            raise TrainingError(
                f"{name} is {values[name]} in epoch {epoch}: the training diverged. Lower learning_rate in "
                "module.yaml, or look for a loss that divides by, or takes the logarithm of, zero"
            )
    loss, val_loss = values.pop("loss"), values.pop("val_loss")
    return Epoch(epoch=epoch, loss=loss, val_loss=val_loss, metrics=values, seconds=seconds)
