"""Statistics of an examples artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import DataError
from slipway.examples.dataset import SPLITS
from slipway.statistics.describe import describe_split
from slipway.statistics.engine import connect, count_rows, describe_columns, describe_files

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2


def compute_statistics(examples_path: str | Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    """One dataset per split, features in the order of the columns; a split may be empty.

    Memory is bounded: three workers of 200 MB at most, whatever the number of rows.

    Raises:
        DataError: there is no Parquet file, or one cannot be read.
    """
    from tensorflow_metadata.proto.v0 import statistics_pb2

    files = {split: split_files(examples_path, split) for split in SPLITS}
    known = next((found for found in files.values() if found), None)
    if known is None:
        raise DataError(f"{examples_path} holds no Parquet file: it is not an output of ingest_examples")
    with connect() as connection:
        columns = describe_files(connection, known)
        rows = {split: count_rows(connection, found) for split, found in files.items()}
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    described = describe_columns([(files[split], rows[split]) for split in SPLITS if files[split]], columns)
    for split in SPLITS:
        facts = next(described) if files[split] else []
        statistics.datasets.append(describe_split(split, rows[split], facts))
    return statistics


def split_files(examples_path: str | Path, split: str) -> list[Path]:
    """The Parquet files of one split, by name."""
    return sorted((Path(examples_path) / f"split={split}").glob("*.parquet"))
