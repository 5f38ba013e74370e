"""The labelled rows of the training split, and the order in which training sees them.

An epoch's order depends on seed, epoch, files and the size of a row alone, not on whether the features fit in memory
(docs/decisions/0070-an-epoch-is-shuffled-window-by-window.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from components.train_model.features import Features, HeldFeatures, Spec, StreamedFeatures
from slipway.data.examples.dataset import files_of_split
from slipway.data.labels import encode_labels
from slipway.data.weights import read_weights
from slipway.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.train_model.config import TrainConfig

WINDOW_BYTES = 64 << 20  # of features that are shuffled together; memory holds them about five times

Rows = Iterable["NDArray[np.int64]"]  # the places of rows, a window at a time


@dataclass(frozen=True)
class TrainingData:
    """The labelled rows of the training split; `validation` is held back for early stopping.

    `weights` multiply the loss of each row; their mean is 1 over `train`, and over `validation`, so that the loss is a
    weighted mean (Keras divides by the number of rows).
    """

    features: Features
    labels: NDArray[Any]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows the model is trained on, and how many are held back."""
        return len(self.train), len(self.validation)

    def training_batches(self, wanted: int, seed: int, epoch: Callable[[], int]) -> tuple[tf.data.Dataset, int]:
        """One epoch, the one that `epoch` tells when it begins, and how many batches it has.

        So a training that was killed goes on with the order that it would have had. A batch has the wanted size, or all
        rows where there are fewer; the rest of a shuffled epoch is left out, so that all batches weigh the same.
        """
        size = min(wanted, len(self.train))
        steps = len(self.train) // size
        return self._batches(lambda: self.shuffled(seed, epoch()), size, steps), steps

    def validation_batches(self, size: int = 8192) -> tf.data.Dataset:
        """The validation rows in the order of the files."""
        return self._batches(lambda: self._windows(self.validation), size, -(-len(self.validation) // size))

    def shuffled(self, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
        """The rows of an epoch in its order: row groups are shuffled, then the rows of as many as a window holds."""
        for number, rows in enumerate(self._windows(self.train, np.random.default_rng([seed, epoch]))):
            order = tf.random.experimental.stateless_shuffle(rows, seed=[seed, epoch + (number << 32)])
            yield order.numpy()

    def _windows(self, rows: NDArray[np.int64], random: np.random.Generator | None = None) -> Rows:
        """Sorted rows by windows of row groups, which `random` shuffles unless one window holds them all."""
        window, starts = max(WINDOW_BYTES // self.features.row_bytes, 1), self.features.starts
        if len(rows) <= window:
            yield rows
            return
        ends = np.searchsorted(rows, starts)
        groups = np.arange(len(starts) - 1) if random is None else random.permutation(len(starts) - 1)
        kept: list[NDArray[np.int64]] = []
        count = 0
        for group in groups:
            kept.append(rows[ends[group] : ends[group + 1]])
            count += len(kept[-1])
            if count >= window:
                yield np.concatenate(kept)
                kept, count = [], 0
        if count:
            yield np.concatenate(kept)

    def _batches(self, windows: Callable[[], Rows], size: int, steps: int) -> tf.data.Dataset:
        """So many batches of the rows in the order of the windows."""

        def read() -> Iterator[Any]:
            left = self.take(np.empty(0, np.int64))
            for rows in windows():
                found = self.take(rows)
                if len(left[1]):
                    found = tf.nest.map_structure(lambda *both: np.concatenate(both), left, found)
                whole = len(found[1]) // size * size
                if whole:
                    yield tf.nest.map_structure(lambda values, end=whole: values[:end], found)
                left = tf.nest.map_structure(lambda values, begin=whole: values[begin:].copy(), found)
            if len(left[1]):
                yield left

        def cut(*window: Any) -> tf.data.Dataset:
            starts = tf.data.Dataset.range(0, tf.shape(window[1], tf.int64)[0], size)
            return starts.map(lambda start: tf.nest.map_structure(lambda values: values[start : start + size], window))

        empty = self.take(np.empty(0, np.int64))
        signature = tf.nest.map_structure(lambda one: tf.TensorSpec((None, *one.shape[1:]), _type(one)), empty)
        parts = tf.data.Dataset.from_generator(read, output_signature=signature)
        batches = parts.prefetch(1).flat_map(cut).take(steps)
        options = tf.data.Options()
        options.autotune.enabled = (
            False  # nothing here is tuned, and its thread now and then ends seconds after an epoch
        )
        return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2).with_options(options)

    def take(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        """Some rows as a batch: features, labels and, if there are any, weights."""
        others = [values[rows] for values in (self.labels, self.weights) if values is not None]
        return self.features.take(rows), *others


def _type(values: NDArray[Any]) -> tf.DType:
    return tf.string if values.dtype == object else tf.as_dtype(values.dtype)


@dataclass(frozen=True)
class TrainingRows:
    """The training split, before it is known which rows are held back."""

    features: Features
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
        features = HeldFeatures(self.features.take(rows))
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
    streamed = StreamedFeatures(files_of_split(transformed_path, "train"), spec)
    return label_rows(streamed, streamed.held_if_small(), task)


def label_rows(files: StreamedFeatures, features: Features, task: TrainConfig) -> TrainingRows:
    """The rows of these features with what the files say of them otherwise; raises as `read_training_rows` does."""
    labels = encode_labels(files.column(task.label.column), task.task, task.class_names)
    weight = task.label.weight
    weights = None if weight is None else read_weights(files.column(weight), weight)
    rows = np.arange(len(labels)) if weights is None else np.flatnonzero(weights)
    if len(rows) < 2:
        counted = "" if weights is None else f" of a {weight} above 0"
        raise DataError(
            f"the training split has {len(rows)} rows{counted}; at least 2 are needed, far more to learn anything"
        )
    groups = encode_groups(files.column(task.group)) if task.group else None
    return TrainingRows(features, labels, weights, groups, rows)


def read_training_data(transformed_path: str, spec: Spec, task: TrainConfig) -> TrainingData:
    """The training split with a share held back; raises as `read_training_rows` and `hold_back_groups` do."""
    return read_training_rows(transformed_path, spec, task).hold_back(task)


def hold_back(labels: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held back: of each class, and of low and high numbers, the same share; at least one, never all."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))
    by_label = np.argsort(labels.reshape(-1)[rows], kind="stable")
    count = min(max(1, round(share * len(rows))), len(rows) - 1)
    held = np.zeros(len(rows), np.bool_)
    held[rows[by_label[((np.arange(count) + rng.random()) * len(rows) / count).astype(np.int64)]]] = True
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
