"""The training of several workers in step: each fits its rows, and the gradients of all make one update.

Keras 3's `fit` cannot do it: it hands `MultiWorkerMirroredStrategy` batches that the model does not take
(https://github.com/keras-team/keras/issues/20585).
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel

from components.train_model.building import build, check_predictions, choose_acceleration
from components.train_model.config import TrainConfig
from components.train_model.features import Spec
from components.train_model.fitting import Checkpoints, Monitor
from components.train_model.shard import Shard, read_shard
from slipway.compute import Distribution
from slipway.errors import ConfigError, DataError, ModuleError, TrainingError
from slipway.module_api import Training

VALIDATION_ROWS = 8192
CHIEF_SECONDS = 900
log = logging.getLogger(__name__)
# What a collective operation raises where another worker, or the way to it, is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.FailedPreconditionError,
)


class WorkerLostError(TrainingError):
    """A worker is gone, and with it the others: all may begin again from the last checkpoint."""


class WorkerInputs(BaseModel):
    """What each worker is given; `features` are shape and type of each transformed feature."""

    transformed_uri: str
    features: dict[str, tuple[list[int], str]]
    model_uri: str
    config: TrainConfig
    distribution: Distribution
    accelerator: str
    checkpoints_uri: str

    @classmethod
    def features_of(cls, spec: Spec) -> dict[str, tuple[list[int], str]]:
        """The field `features` of a spec."""
        return {name: (list(its.shape), its.dtype.name) for name, its in spec.items()}

    @property
    def spec(self) -> Spec:
        """The spec of the field `features`."""
        return {
            name: tf.io.FixedLenFeature(shape, tf.dtypes.as_dtype(kind))
            for name, (shape, kind) in self.features.items()
        }


def train_worker(inputs: WorkerInputs, index: int, hosts: Sequence[str]) -> None:
    """Trains as one of several workers, which listen at `hosts`; the first one, the chief, writes checkpoints.

    The last of them has the history and the best weights.

    Raises:
        WorkerLostError: another worker is gone.
        SlipwayError: as `choose_acceleration`, `read_shard`, `build` and `fit` do.
    """
    config, spec = inputs.config, inputs.spec
    acceleration = choose_acceleration(inputs.distribution, inputs.accelerator)
    sharing = len(hosts) if inputs.distribution.on_one_machine else 1
    with TemporaryDirectory(prefix="slipway-worker-") as scratch:
        data = read_shard(inputs.transformed_uri, spec, config, index, len(hosts), sharing, Path(scratch))
        if index:
            _await_chief(hosts[0])
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(hosts)}), task_type="worker", task_id=index, rpc_layer="grpc"
        )
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
            keras.utils.set_random_seed(config.training.seed)
            with strategy.scope():
                model = build(inputs.model_uri, spec, config, acceleration)
            check_predictions(model, data, config)
            checkpoints = Checkpoints(inputs.checkpoints_uri, writable=index == 0)
            fit_together(strategy, model, data, config.training, checkpoints)
        except _LOST as error:
            log.warning("worker %d: %s", index, error)
            raise WorkerLostError(f"worker {index} lost another one: {type(error).__name__}") from error


def _await_chief(host: str) -> None:
    """Waits until the chief listens: TensorFlow waits without end, and a chief that is gone never will."""
    name, _, port = host.rpartition(":")
    until = time.monotonic() + CHIEF_SECONDS
    while True:
        try:
            socket.create_connection((name.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            if time.monotonic() >= until:
                raise WorkerLostError(
                    f"the chief at {host} does not answer after {CHIEF_SECONDS} s: {error}"
                ) from error
            time.sleep(0.2)
        else:
            return


def fit_together(
    strategy: tf.distribute.Strategy, model: keras.Model, data: Shard, training: Training, checkpoints: Checkpoints
) -> None:
    """Trains a compiled model as `fit` does, with the same monitor, for this worker's part of each batch."""
    monitor = Monitor(training, checkpoints)
    monitor.set_model(model)
    monitor.resume()
    history = monitor.state.history
    done = len(history.epochs)
    _require_same(strategy, done)
    if history.stopped != "running":
        return
    history.resumed_after_epoch = done or None
    try:
        steps = _Steps(strategy, model, data, training)
        model.stop_training = False
        for epoch in range(done, training.epochs):
            monitor.on_epoch_begin(epoch)
            logs = steps.train(epoch) | {f"val_{name}": value for name, value in steps.validate().items()}
            monitor.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    except (ValueError, TypeError) as error:
        raise ModuleError(f"model.py: the model cannot be trained on these features: {error}") from error


class _Steps:
    """The steps of a worker's epochs, with the metrics of all workers."""

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model, data: Shard, training: Training) -> None:
        self._strategy, self._model, self._data, self._epoch = strategy, model, data, 0
        devices, resolver = strategy.num_replicas_in_sync, strategy.cluster_resolver
        self._own = devices // resolver.cluster_spec().num_tasks("worker")
        size = min(training.batch_size, data.train_rows) // devices
        if not size:
            raise ConfigError(
                f"training.batch_size = {training.batch_size} is too small for {devices} devices: raise it"
            )
        if len(data.validation) < self._own:
            raise DataError(f"{data.validation_rows} rows are held back, too few for {devices} devices: use fewer")
        # Another order in each worker, or the same rows of all would always meet.
        seed = training.seed + resolver.task_id
        self._batches, self._count = data.training_batches(size, seed, lambda: self._epoch)
        self._parts = np.array_split(
            data.validation, self._own * -(-len(data.validation) // (VALIDATION_ROWS * self._own))
        )
        self._train = tf.function(lambda batch: strategy.run(_only(model.train_step), args=(batch,)))
        self._test = tf.function(
            lambda batch: strategy.run(_only(model.test_step), args=(batch,)), reduce_retracing=True
        )
        # What no gradient changes: the means of a batch normalisation, for one.
        self._untrained = [one for one in model.non_trainable_variables if one.dtype.startswith("float")]
        self._read = tf.function(lambda: strategy.run(lambda: [tf.identity(one.value) for one in self._untrained]))
        features, labels, *weights = self._batch(self._parts[0][:1])
        with strategy.scope():  # in which the metrics make their variables when they are first computed
            model.compute_metrics(features, labels, model(features, training=False), *weights)

    def train(self, epoch: int) -> dict[str, float]:
        """One epoch."""
        self._epoch = epoch
        self._model.reset_metrics()
        batches = iter(self._batches)
        for _ in range(self._count // self._own):
            self._train(self._on_each(batches))
        logs = self._metrics()
        self._average()
        return logs

    def validate(self) -> dict[str, float]:
        """The metrics on the rows held back."""
        self._model.reset_metrics()
        batches = map(self._batch, self._parts)
        for _ in range(len(self._parts) // self._own):
            self._test(self._on_each(batches))
        return self._metrics()

    def _batch(self, rows: NDArray[np.int64]) -> Any:
        return tf.nest.map_structure(tf.convert_to_tensor, self._data.take(rows))

    def _on_each(self, batches: Iterator[Any]) -> Any:
        """A batch for each device of this worker."""
        return self._strategy.experimental_distribute_values_from_function(lambda _: next(batches))

    def _metrics(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._model.get_metrics_result().items()}

    def _average(self) -> None:
        """Makes what no gradient changes equal in all workers, which saw other rows."""
        if self._untrained:
            for variable, values in zip(self._untrained, self._read(), strict=True):
                variable.assign(self._strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None))


def _only(step: Any) -> Any:
    """A step without its answer, the metrics: to read them is an exchange among the workers."""

    def run(batch: Any) -> None:
        step(batch)

    return run


def _require_same(strategy: tf.distribute.Strategy, epochs: int) -> None:
    """Raises a WorkerLostError if workers found different checkpoints, with which they would wait for each other."""
    found = strategy.run(tf.function(lambda: tf.constant([epochs, epochs**2], tf.float64)))
    total, squares = strategy.reduce(tf.distribute.ReduceOp.SUM, found, axis=None).numpy()
    if strategy.num_replicas_in_sync * squares != total**2:
        raise WorkerLostError("the workers found checkpoints of different epochs")
