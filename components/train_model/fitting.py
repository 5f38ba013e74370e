"""Fitting a model: early stopping, history and checkpoints together, so that a resumed training is the same one."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel
from tensorflow.core.framework import summary_pb2

from components.train_model.dataset import TrainingData
from slipway.errors import ModuleError, StoreError, TrainingError
from slipway.module_api import Training
from slipway.runs.training_log import EPOCH_LINE, HISTORY, Epoch, History
from slipway.stores import storage

SLOTS = ("a.npz", "b.npz")
STEPS_AT_ONCE = 32  # of one call from Python into TensorFlow; the last of an epoch may do fewer
log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


def digest_inputs(parameters: dict[str, Any], files: list[Path]) -> str:
    """SHA-256 over all that decides how a training goes: its parameters and the bytes of its data."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one training below `uri`, local or remote, with which a killed step goes on where it was.

    Two slots are written in turn, each atomically: a damaged one leaves the other, one epoch older. Of several workers
    only one writes. A store out of reach costs no training: a warning is logged, and the checkpoint left out.
    """

    def __init__(self, uri: str, writable: bool = True) -> None:
        self.uri = uri
        self.writable = writable

    def save(self, epoch: int, arrays: Arrays, state: str) -> None:
        """Writes the state after an epoch."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, __state__=np.array(state), **arrays)
        try:
            storage.write_bytes(storage.join(self.uri, SLOTS[epoch % len(SLOTS)]), buffer.getvalue())
        except StoreError as error:
            log.warning("the checkpoint after epoch %d is not saved: %s", epoch, error)

    def load(self) -> list[tuple[str, Arrays]]:
        """State and arrays of each readable checkpoint."""
        found = []
        for uri in (storage.join(self.uri, slot) for slot in SLOTS):
            try:
                if storage.exists(uri):
                    with np.load(io.BytesIO(storage.read_bytes(uri)), allow_pickle=False) as stored:
                        arrays = dict(stored)
                    found.append((str(arrays.pop("__state__")), arrays))
            except StoreError as error:
                log.warning("the checkpoint is left out: %s", error)
            except Exception as error:  # a damaged file fails in many ways, and none of them may stop the training
                log.warning("the checkpoint %s is damaged and left out: %s", uri, error)
        return found

    def hold_finished(self) -> bool:
        """Whether one of them is of a training that has ended."""
        return any(_State.model_validate_json(text).history.stopped != "running" for text, _ in self.load())

    def clear(self) -> None:
        """Removes them: the training is done."""
        try:
            storage.delete_folder(self.uri)
        except StoreError as error:
            log.warning("the checkpoints of a finished training are not removed: %s", error)


class _State(BaseModel):
    """What the training knows besides its variables."""

    history: History = History()
    best_loss: float = math.inf
    waited: int = 0


class Monitor(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """After each epoch: records, compares, checkpoints, stops."""

    def __init__(self, training: Training, checkpoints: Checkpoints | None) -> None:
        super().__init__()
        self._training, self._checkpoints, self.state = training, checkpoints, _State()
        self.best: list[NDArray[Any]] = []
        self.epoch = 0
        self._started = time.perf_counter()

    def resume(self) -> None:
        """Goes on after the newest checkpoint that fits the model."""
        kept = self._checkpoints.load() if self._checkpoints else []
        found = [(_State.model_validate_json(text), arrays) for text, arrays in kept]
        for state, arrays in sorted(found, key=lambda one: -len(one[0].history.epochs)):
            variables = [arrays.get(f"v{index}") for index in range(len(self._variables))]
            if [getattr(value, "shape", None) for value in variables] != [tuple(v.shape) for v in self._variables]:
                log.warning("a checkpoint does not fit the model and is left out")
                continue
            for variable, value in zip(self._variables, variables, strict=True):
                variable.assign(value)
            self.best = [arrays[f"b{index}"] for index in range(len(self.model.weights))]
            self.state = state
            log.info("resumed after epoch %d", len(state.history.epochs))
            return

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self.epoch, self._started = epoch, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises a TrainingError if the loss is no longer a number."""
        record = _record(epoch + 1, logs or {}, time.perf_counter() - self._started)
        self.state.history.epochs.append(record)
        better = record.val_loss < self.state.best_loss
        if better:
            self.state.best_loss, self.state.waited = record.val_loss, 0
            self.state.history.best_epoch = record.epoch
            self.best = [weight.value.numpy().copy() for weight in self.model.weights]
        else:
            self.state.waited += 1
        log.info(
            EPOCH_LINE,
            *(record.epoch, self._training.epochs, record.loss, record.val_loss),
            *(" (best)" if better else "", record.seconds),
        )
        if 0 < self._training.patience <= self.state.waited:
            self.state.history.stopped = "early_stopping"
            self.model.stop_training = True
        elif record.epoch == self._training.epochs:
            self.state.history.stopped = "epochs"
        if self._checkpoints and self._checkpoints.writable:
            arrays = {f"v{index}": value.value.numpy() for index, value in enumerate(self._variables)}
            arrays |= {f"b{index}": weight for index, weight in enumerate(self.best)}
            self._checkpoints.save(record.epoch, arrays, self.state.model_dump_json())

    @property
    def _variables(self) -> list[Any]:
        """Weights, the optimizer's moments, and the state of the random generators of dropout and the like."""
        return [*self.model.variables, *self.model.optimizer.variables]


def fit(
    model: keras.Model,
    data: TrainingData,
    training: Training,
    checkpoints: Checkpoints | None = None,
    watch: keras.callbacks.Callback | None = None,
) -> History:
    """Trains a compiled model until the validation loss stops falling; leaves the best epoch's weights in it.

    What `watch` raises ends the training.

    Raises:
        TrainingError: the loss is no longer a number.
        ModuleError: the model cannot be trained on this data.
    """
    started = time.perf_counter()
    monitor = Monitor(training, checkpoints)
    monitor.set_model(model)
    monitor.resume()
    done = len(monitor.state.history.epochs)
    monitor.state.history.resumed_after_epoch = done or None
    if monitor.state.history.stopped == "running":
        batches, _ = data.training_batches(training.batch_size, training.seed, lambda: monitor.epoch)
        # Keras's loop of several steps cannot be traced for several replicas.
        is_alone = model.distribute_strategy.num_replicas_in_sync == 1
        model.steps_per_execution = max(model.steps_per_execution, STEPS_AT_ONCE) if is_alone else 1
        try:
            model.fit(
                batches,
                initial_epoch=done,
                epochs=training.epochs,
                validation_data=data.validation_batches(),
                callbacks=[monitor, *([watch] if watch else [])],
                shuffle=False,
                verbose=0,
            )
        except (ValueError, TypeError) as error:
            raise ModuleError(f"model.py: the model cannot be trained on these features: {error}") from error
    model.set_weights(monitor.best)
    history = monitor.state.history
    history.parameters = model.count_params()
    history.train_rows, history.validation_rows = data.counts
    history.seconds = time.perf_counter() - started
    return history


def take_finished(model: keras.Model, data: TrainingData, training: Training, checkpoints: Checkpoints) -> History:
    """The history of a training that others have finished; its best epoch's weights are put into the model.

    Raises:
        StoreError: the checkpoints are not those of a finished training.
    """
    monitor = Monitor(training, checkpoints)
    monitor.set_model(model)
    monitor.resume()
    history = monitor.state.history
    if history.stopped == "running":
        raise StoreError(
            f"the training ended, and its last checkpoint is not at {checkpoints.uri}: the chief's log says why it was "
            "not written; start the step again, which goes on from the one before"
        )
    model.set_weights(monitor.best)
    history.parameters = model.count_params()
    history.train_rows, history.validation_rows = data.counts
    history.seconds = sum(epoch.seconds for epoch in history.epochs)
    return history


def write_history(history: History, folder: Path) -> None:
    """`history.json`, and the same curves as TensorBoard reads them."""
    storage.write_text(str(folder / HISTORY), history.model_dump_json(indent=1))
    scalars = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class=summary_pb2.DATA_CLASS_SCALAR,
    )
    with tf.summary.create_file_writer(str(folder / "tensorboard")).as_default():
        for epoch in history.epochs:
            for name, value in {"loss": epoch.loss, "val_loss": epoch.val_loss, **epoch.metrics}.items():
                tf.summary.write(name, tf.constant(value, tf.float32), epoch.epoch, scalars)


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
