"""Transformed examples in memory, and the order in which training sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from slipway.data.labels import encode_labels
from slipway.errors import DataError, ModuleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.data.examples.dataset import Split
    from slipway.module_api import LabelledTask, Training

Spec = dict[str, tf.io.FixedLenFeature]  # shape (without the batch) and dtype of each transformed feature


def split_files(transformed_path: str, split: Split) -> list[Path]:
    """The files of a split, in the order of the examples."""
    return sorted(Path(transformed_path, f"split={split}").glob("*.parquet"))


def read_features(files: list[Path], spec: Spec, rows: int | None = None) -> dict[str, NDArray[Any]]:
    """Transformed features as arrays `[rows, *shape]`; column by column, so that memory holds one copy."""
    features = {}
    for name in sorted(spec):
        column = _read_column(files, name).slice(0, rows)
        while pa.types.is_fixed_size_list(column.type):
            column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
        features[name] = np.asarray(column.to_numpy()).reshape(-1, *spec[name].shape)
    return features


def _read_column(files: list[Path], name: str) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for file in files for chunk in pq.read_table(file, columns=[name])[name].chunks])


@dataclass(frozen=True)
class TrainingData:
    """The labelled rows of the training split; `validation` is held back for early stopping."""

    features: dict[str, NDArray[Any]]
    labels: NDArray[Any]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]

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
        return epochs_left.flat_map(batches).map(self._gather()).prefetch(2), steps

    def validation_batches(self, batch_size: int = 8192) -> tf.data.Dataset:
        """The validation rows."""
        return tf.data.Dataset.from_tensor_slices(self.validation).batch(batch_size).map(self._gather()).cache()

    def _gather(self) -> Any:
        features = {name: tf.constant(values) for name, values in self.features.items()}
        labels = tf.constant(self.labels)
        return lambda rows: (
            {name: tf.gather(values, rows) for name, values in features.items()},
            tf.gather(labels, rows),
        )


def read_training_data(transformed_path: str, spec: Spec, task: LabelledTask, training: Training) -> TrainingData:
    """Reads the training split; the seed decides which rows are held back.

    Raises:
        DataError: a label is unknown or missing, or there are too few rows to hold some back.
        ModuleError: a transformed feature is NaN or infinite.
    """
    files = split_files(transformed_path, "train")
    features = read_features(files, spec)
    labels = encode_labels(_read_column(files, task.label.column), task.task, task.class_names)
    if len(labels) < 2:
        raise DataError(f"the training split has {len(labels)} rows; at least 2 are needed, far more to learn anything")
    for name, values in features.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModuleError(
                f"preprocessing_fn answers {name!r} with NaN or infinity in {int((~np.isfinite(values)).sum())} places "
                "of the training split: fill missing values, and bound what is divided or exponentiated"
            )
    held_back = hold_back(labels, training.held_back, training.seed)
    return TrainingData(features, labels, np.flatnonzero(~held_back), np.flatnonzero(held_back))


def hold_back(labels: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held back: of each class, and of low and high numbers, the same share; at least one, never all."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))
    rows = rows[np.argsort(labels.reshape(-1)[rows], kind="stable")]
    count = min(max(1, round(share * len(rows))), len(rows) - 1)
    held = np.zeros(len(rows), np.bool_)
    held[rows[((np.arange(count) + rng.random()) * len(rows) / count).astype(np.int64)]] = True
    return held
