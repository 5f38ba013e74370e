"""Statistics of an examples artifact."""

from __future__ import annotations

from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.data.examples.dataset import MANIFEST, SPLITS
from slipway.data.statistics.describe import describe_split
from slipway.data.statistics.engine import describe_columns, open_table
from slipway.stores.artifacts import check_whole


def compute_statistics(examples_path: str | Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    """One dataset per split, features in the order of the columns; a split may be empty.

    Memory is bounded: three workers of 200 MB at most, whatever the number of rows.

    Raises:
        DataError: a file is damaged, or of a type that examples do not have.
        StoreError: the examples are not whole, or the disk refuses.
    """
    tables = [open_table(split_files(examples_path, split)) for split in SPLITS]
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    for split, table, facts in zip(SPLITS, tables, describe_columns(tables), strict=True):
        statistics.datasets.append(describe_split(split, table.rows, facts))
    return statistics


def split_files(examples_path: str | Path, split: str) -> list[Path]:
    """The Parquet files of one split, by name.

    Raises:
        StoreError: the artifact has no manifest, so it is not whole.
    """
    check_whole(examples_path, MANIFEST, "ingest_examples")
    return sorted((Path(examples_path) / f"split={split}").glob("*.parquet"))
