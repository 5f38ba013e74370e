"""One worker's part of the training split: its rows alone are read, and all workers have as many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from components.train_model.dataset import TrainingData, label_rows
from components.train_model.features import (
    HELD_SHARE,
    HeldFeatures,
    Spec,
    StreamedFeatures,
    count_not_finite,
    refuse_not_finite,
)
from slipway.data.examples.dataset import files_of_split
from slipway.errors import DataError
from slipway.limits import memory_limit
from slipway.stores import storage

if TYPE_CHECKING:
    from pathlib import Path

    from components.train_model.config import TrainConfig


@dataclass(frozen=True)
class Shard(TrainingData):
    """The rows of one of several workers; the two counts are of all workers."""

    train_rows: int = 0
    validation_rows: int = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Those of all workers."""
        return self.train_rows, self.validation_rows


def read_shard(
    transformed_uri: str,
    spec: Spec,
    task: TrainConfig,
    index: int,
    workers: int,
    sharing: int = 1,
    scratch: Path | None = None,
) -> Shard:
    """Reads the rows of one worker; where they do not fit in memory, they are streamed.

    Labels, weights and groups of the whole split are read by each: so all hold the same rows back, those that one
    worker alone would, with the same weights. Of the features only the row groups are read that have rows of this one.
    `sharing` workers share this machine's memory. From a bucket only these bytes are fetched, once: row groups that are
    streamed are copied to `scratch`, which a remote URI needs.

    Raises:
        DataError: there are fewer rows than workers; and as `read_training_rows` does.
        ModuleError: a feature of these rows is NaN or infinite.
    """
    streamed = StreamedFeatures(_open_files(transformed_uri), spec)
    whole = label_rows(streamed, streamed, task).hold_back(task)
    counts = len(whole.train), len(whole.validation)
    if min(counts) < workers:
        raise DataError(
            f"{counts[0]} rows to train on and {counts[1]} held back are too few for {workers} workers: lower "
            "distribution.workers"
        )
    # As many for each, so that all make as many steps; a few rows may be left over, as the last batch of an epoch is.
    share = counts[0] // workers
    train = whole.train[index * share : (index + 1) * share]
    validation = np.array_split(whole.validation, workers)[index]
    rows, places = np.unique(np.concatenate([train, validation]), return_inverse=True)
    if len(rows) * streamed.row_bytes > HELD_SHARE * memory_limit() / sharing:
        if scratch and storage.is_remote(transformed_uri):
            streamed = streamed.copied(rows, scratch / "rows.parquet")
        streamed.refuse_not_finite(rows)
        return Shard(streamed, whole.labels, train, validation, whole.weights, *counts)
    arrays = streamed.take(rows)
    refuse_not_finite({name: count_not_finite(values) for name, values in arrays.items()})
    return Shard(
        HeldFeatures(arrays, np.unique(np.searchsorted(rows, streamed.starts))),
        whole.labels[rows],
        places[:share],
        places[share:],
        None if whole.weights is None else whole.weights[rows],
        *counts,
    )


def _open_files(transformed_uri: str) -> Sequence[Path | IO[bytes]]:
    if not storage.is_remote(transformed_uri):
        return files_of_split(transformed_uri, "train")
    files = storage.list_files(storage.join(transformed_uri, "split=train"))
    # On S3 the probe of conditions lies beside what Beam's workers wrote.
    return [storage.open_read(file.uri, buffered=False) for file in files if file.name.endswith(".parquet")]
