"""Transformed examples in memory, and the order in which training sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from slipway.data.examples.dataset import files_of_split
from slipway.data.labels import encode_labels
from slipway.data.weights import read_weights
from slipway.errors import DataError, ModuleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.train_model.config import TrainConfig

Spec = dict[str, tf.io.FixedLenFeature]  # shape (without the batch) and dtype of each transformed feature


def read_features(files: list[Path], spec: Spec, rows: int | None = None) -> dict[str, NDArray[Any]]:
    """Transformed features as arrays `[rows, *shape]`; column by column, so that memory holds one copy."""
    features = {}
    for name in sorted(spec):
        features[name] = to_array(_read_column(files, name).slice(0, rows)).reshape(-1, *spec[name].shape)
    return features


def to_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """The values of a column in one dimension."""
    while pa.types.is_fixed_size_list(column.type):
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    return np.asarray(column.to_numpy())


def _read_column(files: list[Path], name: str) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for file in files for chunk in pq.read_table(file, columns=[name])[name].chunks])


@dataclass(frozen=True)
class TrainingData:
    """The labelled rows of the training split; `validation` is held back for early stopping.

    `weights` multiply the loss of each row; their mean is 1 over `train`, and over `validation`, so that the loss is a
    weighted mean (Keras divides by the number of rows).
    """

    features: dict[str, NDArray[Any]]
    labels: NDArray[Any]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows the model is trained on, and how many are held back."""
        return len(self.train), len(self.validation)

    def training_batches(self, wanted: int, seed: int, first_epoch: int, epochs: int) -> tuple[tf.data.Dataset, int]:
        """All epochs, one after the other, and the batches in each; an epoch's order depends on seed and number only.

        So a training that was killed goes on with the order that it would have had. A batch has the wanted size, or all
        rows where there are fewer; the rest of a shuffled epoch is left out, so that all batches weigh the same.
        """
        size = min(wanted, len(self.train))
        steps = len(self.train) // size
        rows = tf.constant(self.train)

        def batches(epoch: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(rows, seed=tf.stack([tf.constant(seed, tf.int64), epoch]))
            return tf.data.Dataset.from_tensor_slices(tf.reshape(order[: steps * size], [steps, size]))

        epochs_left = tf.data.Dataset.range(first_epoch, epochs)
        return epochs_left.flat_map(batches).map(self.gather()).prefetch(2), steps

    def validation_batches(self, batch_size: int = 8192) -> tf.data.Dataset:
        """The validation rows."""
        return tf.data.Dataset.from_tensor_slices(self.validation).batch(batch_size).map(self.gather()).cache()

    def gather(self) -> Any:
        """A function from row numbers to a batch: features, labels and, if there are any, weights."""
        features = {name: tf.constant(values) for name, values in self.features.items()}
        others = [tf.constant(values) for values in (self.labels, self.weights) if values is not None]
        return lambda rows: (
            {name: tf.gather(values, rows) for name, values in features.items()},
            *(tf.gather(values, rows) for values in others),
        )


@dataclass(frozen=True)
class TrainingRows:
    """The training split in memory, before it is known which rows are held back."""

    features: dict[str, NDArray[Any]]
    labels: NDArray[Any]
    weights: NDArray[np.float64] | None
    groups: NDArray[np.int64] | None
    rows: NDArray[np.int64]  # those that count

    @property
    def units(self) -> int:
        """How many parts they have that stay together: rows, or groups."""
        return len(self.rows) if self.groups is None else len(np.unique(self.groups[self.rows]))

    def hold_back(self, task: TrainConfig) -> TrainingData:
        """The data with a share held back; the seed decides which rows, or groups."""
        share, seed = task.training.held_back, task.training.seed
        if self.groups is not None:
            return self._without(task, hold_back_groups(self.groups[self.rows], task.group, share, seed))
        return self._without(task, hold_back(self.labels[self.rows], share, seed))

    def fold(self, task: TrainConfig, index: int, count: int) -> TrainingData:
        """The data with one of `count` folds held back, of which no two share a row or a group."""
        ids = np.arange(len(self.rows)) if self.groups is None else self.groups[self.rows]
        order = np.random.default_rng(task.training.seed).permutation(np.unique(ids))
        if self.groups is None:  # with the same mix of labels in each
            order = order[np.argsort(self.labels[self.rows].reshape(-1)[order], kind="stable")]
        return self._without(task, np.isin(ids, order[index::count]))

    def only(self, rows: NDArray[np.int64]) -> TrainingRows:
        """A copy of some rows."""
        features = {name: values[rows] for name, values in self.features.items()}
        weights = None if self.weights is None else self.weights[rows]
        groups = None if self.groups is None else self.groups[rows]
        return TrainingRows(features, self.labels[rows], weights, groups, np.arange(len(rows)))

    def _without(self, task: TrainConfig, held_back: NDArray[np.bool_]) -> TrainingData:
        train, validation = self.rows[~held_back], self.rows[held_back]
        weights = weigh(task, self.labels, self.weights, train, validation)
        return TrainingData(self.features, self.labels, train, validation, weights)


def read_training_rows(transformed_path: str, spec: Spec, task: TrainConfig) -> TrainingRows:
    """Reads the training split.

    Raises:
        DataError: a label is unknown or missing, a weight is wrong, or there are too few rows to hold some back.
        ModuleError: a transformed feature is NaN or infinite.
    """
    files = files_of_split(transformed_path, "train")
    features = read_features(files, spec)
    labels = encode_labels(_read_column(files, task.label.column), task.task, task.class_names)
    check_finite(features)
    weight = task.label.weight
    weights = None if weight is None else read_weights(_read_column(files, weight), weight)
    rows = np.arange(len(labels)) if weights is None else np.flatnonzero(weights)
    if len(rows) < 2:
        counted = "" if weights is None else f" of a {weight} above 0"
        raise DataError(
            f"the training split has {len(rows)} rows{counted}; at least 2 are needed, far more to learn anything"
        )
    groups = encode_groups(_read_column(files, task.group)) if task.group else None
    return TrainingRows(features, labels, weights, groups, rows)


def check_finite(features: Mapping[str, NDArray[Any]]) -> None:
    """Raises a ModuleError for a feature that is NaN or infinite."""
    for name, values in features.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModuleError(
                f"preprocessing_fn answers {name!r} with NaN or infinity in {int((~np.isfinite(values)).sum())} places "
                "of the training split: fill missing values, and bound what is divided or exponentiated"
            )


def read_training_data(transformed_path: str, spec: Spec, task: TrainConfig) -> TrainingData:
    """The training split with a share held back; raises as `read_training_rows` and `hold_back_groups` do."""
    return read_training_rows(transformed_path, spec, task).hold_back(task)


def hold_back(labels: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held back: of each class, and of low and high numbers, the same share; at least one, never all."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))
    rows = rows[np.argsort(labels.reshape(-1)[rows], kind="stable")]
    count = min(max(1, round(share * len(rows))), len(rows) - 1)
    held = np.zeros(len(rows), np.bool_)
    held[rows[((np.arange(count) + rng.random()) * len(rows) / count).astype(np.int64)]] = True
    return held


def encode_groups(values: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each value."""
    return np.asarray(pc.index_in(values, value_set=values.unique()).to_numpy(), np.int64)


def hold_back_groups(groups: NDArray[np.int64], name: str, share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held back: all of a group or none, and the share at most, if a group is as small as that.

    Raises:
        DataError: there is one group only.
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(sizes))
    if len(order) < 2:
        raise DataError(f"the training split has {len(order)} value of {name!r}, the group; at least 2 are needed")
    wanted, held = int(share * len(groups)), np.zeros(len(sizes), np.bool_)
    for group in order:
        if sizes[group] <= wanted:
            held[group], wanted = True, wanted - sizes[group]
    held[order[sizes[order].argmin()]] |= not held.any()
    return held[groups]


def weigh(
    task: TrainConfig,
    labels: NDArray[Any],
    weights: NDArray[np.float64] | None,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
) -> NDArray[np.float32] | None:
    """What multiplies the loss of each row: its weight and, in training, that of its class."""
    by_class = task.training.class_weights
    if weights is None and by_class is None:
        return None
    result = np.ones(len(labels)) if weights is None else weights.copy()
    if by_class is not None:
        classes = labels[train].astype(np.int64)
        factors = np.ones(len(task.class_names))
        if by_class == "balanced":
            held = np.bincount(classes, result[train], minlength=len(factors))
            factors = np.divide(1, held, out=factors, where=held > 0)
        else:
            for name, factor in by_class.items():
                factors[task.class_index(name)] = factor
        result[train] *= factors[classes]
    for rows in (train, validation):
        result[rows] /= result[rows].mean() if len(rows) else 1
    return result.astype(np.float32)
