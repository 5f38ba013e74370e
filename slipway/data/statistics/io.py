"""The statistics artifact: `statistics.pb`, a `DatasetFeatureStatisticsList` with the datasets `train` and `eval`."""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import statistics_pb2

from slipway.errors import StoreError
from slipway.remote.address import shown
from slipway.stores import storage

FILE = "statistics.pb"


def write_statistics(statistics: statistics_pb2.DatasetFeatureStatisticsList, artifact_uri: str) -> None:
    """Writes `statistics.pb`, atomically; equal statistics are equal bytes."""
    storage.write_bytes(storage.join(artifact_uri, FILE), statistics.SerializeToString(deterministic=True))


def read_statistics(artifact_uri: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of an artifact, local or in a bucket.

    Raises:
        StoreError: there are none, or the file is damaged.
    """
    from google.protobuf.message import DecodeError

    uri = storage.join(artifact_uri, FILE)
    try:
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(storage.read_bytes(uri))
    except DecodeError as error:
        raise StoreError(f"{shown(uri)} is damaged: {error}; run the pipeline again to make it anew") from error


def dataset_of(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, split: str
) -> statistics_pb2.DatasetFeatureStatistics:
    """The statistics of one split.

    Raises:
        StoreError: the split is not described.
    """
    for dataset in statistics.datasets:
        if dataset.name == split:
            return dataset
    raise StoreError(f"the statistics have no dataset {split!r}: they were not made by compute_statistics")
