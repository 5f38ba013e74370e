"""One worker's part of the training split: its rows alone are read, and all workers have as many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.train_model.dataset import Spec, TrainingData, check_finite, read_training_rows, to_array
from slipway.data.examples.dataset import files_of_split
from slipway.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from components.train_model.config import TrainConfig


@dataclass(frozen=True)
class Shard(TrainingData):
    """The rows of one of several workers, first those for training; the two counts are of all workers."""

    train_rows: int = 0
    validation_rows: int = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Those of all workers."""
        return self.train_rows, self.validation_rows


def read_shard(transformed_path: str, spec: Spec, task: TrainConfig, index: int, workers: int) -> Shard:
    """Reads the rows of one worker.

    Labels, weights and groups of the whole split are read by each: so all hold the same rows back, those that one
    worker alone would, with the same weights. Of the features only the row groups are read that have rows of this one.

    Raises:
        DataError: there are fewer rows than workers; and as `read_training_rows` does.
    """
    whole = read_training_rows(transformed_path, {}, task).hold_back(task)
    if min(len(whole.train), len(whole.validation)) < workers:
        raise DataError(
            f"{len(whole.train)} rows to train on and {len(whole.validation)} held back are too few for {workers} "
            "workers: lower distribution.workers"
        )
    # As many for each, so that all make as many steps; a few rows may be left over, as the last batch of an epoch is.
    share = len(whole.train) // workers
    train = whole.train[index * share : (index + 1) * share]
    validation = np.array_split(whole.validation, workers)[index]
    rows, places = np.unique(np.concatenate([train, validation]), return_inverse=True)
    files = files_of_split(transformed_path, "train")
    features = {name: _read_rows(files, name, rows).reshape(-1, *its.shape) for name, its in sorted(spec.items())}
    check_finite(features)
    return Shard(
        features,
        whole.labels[rows],
        places[:share],
        places[share:],
        None if whole.weights is None else whole.weights[rows],
        len(whole.train),
        len(whole.validation),
    )


def _read_rows(files: list[Path], name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """The values of one feature in some rows, given in ascending order, in one dimension."""
    parts, first = [], 0
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                after = first + parquet.metadata.row_group(group).num_rows
                own = rows[np.searchsorted(rows, first) : np.searchsorted(rows, after)] - first
                if len(own):
                    parts.append(parquet.read_row_group(group, columns=[name])[name].take(pa.array(own)))
                first = after
    return to_array(pa.chunked_array([chunk for part in parts for chunk in part.chunks]))
