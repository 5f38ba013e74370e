"""`anomalies.pbtxt`: the findings as tensorflow-metadata's `Anomalies`, for tools that read TFDV's output."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from slipway.data.validation.report import ANOMALIES, Anomaly, Comparison, Validation
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Sequence


MULTIPLE = "Multiple errors"  # TFDV's short description of several reasons


def to_anomalies(validation: Validation, schema: schema_pb2.Schema) -> anomalies_pb2.Anomalies:
    """One `AnomalyInfo` per feature; each reason names its split, which TFDV's proto has no field for."""
    result = anomalies_pb2.Anomalies(baseline=schema, anomaly_name_format=anomalies_pb2.Anomalies.SERIALIZED_PATH)
    result.data_missing = any(anomaly.type == "NO_DATA_IN_SPAN" for anomaly in validation.anomalies)
    ordered = sorted(validation.anomalies, key=lambda anomaly: anomaly.feature)
    for feature, group in groupby(ordered, key=lambda anomaly: anomaly.feature):
        info = result.anomaly_info[feature] if feature else result.dataset_anomaly_info
        if feature:
            info.path.step.append(feature)
        _fill_info(info, list(group))
    for feature, compared in groupby(
        sorted(validation.comparisons, key=lambda comparison: comparison.feature), key=lambda one: one.feature
    ):
        _add_distances(result, feature, list(compared))
    return result


def write_anomalies(anomalies: anomalies_pb2.Anomalies, artifact_path: str) -> None:
    """Writes `anomalies.pbtxt`, atomically."""
    storage.write_text(storage.join(artifact_path, ANOMALIES), text_format.MessageToString(anomalies, as_utf8=True))


def _fill_info(info: anomalies_pb2.AnomalyInfo, anomalies: Sequence[Anomaly]) -> None:
    info.severity = max(info.Severity.Value(anomaly.severity) for anomaly in anomalies)
    for anomaly in anomalies:
        info.reason.add(
            type=info.Type.Value(anomaly.type),
            short_description=anomaly.short,
            description=f"{anomaly.description} (split {anomaly.split})",
        )
    info.description = " ".join(reason.description for reason in info.reason)
    shorts = {reason.short_description for reason in info.reason}
    info.short_description = shorts.pop() if len(shorts) == 1 else MULTIPLE


def _add_distances(result: anomalies_pb2.Anomalies, feature: str, comparisons: Sequence[Comparison]) -> None:
    info = result.drift_skew_info.add()
    info.path.step.append(feature)
    for one in comparisons:
        measurements = info.drift_measurements if one.kind == "drift" else info.skew_measurements
        measurements.add(type=one.measure, value=one.value, threshold=one.threshold)
