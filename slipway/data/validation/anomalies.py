"""`anomalies.pbtxt`: the findings as tensorflow-metadata's `Anomalies`, for tools that read TFDV's output."""

from __future__ import annotations

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from slipway.data.validation.report import Validation
from slipway.stores import storage

FILE = "anomalies.pbtxt"
MULTIPLE = "Multiple errors"  # TFDV's short description of several reasons


def to_anomalies(validation: Validation, schema: schema_pb2.Schema) -> anomalies_pb2.Anomalies:
    """One `AnomalyInfo` per feature; each reason names its split, which TFDV's proto has no field for."""
    result = anomalies_pb2.Anomalies(baseline=schema, anomaly_name_format=anomalies_pb2.Anomalies.SERIALIZED_PATH)
    result.data_missing = any(anomaly.type == "NO_DATA_IN_SPAN" for anomaly in validation.anomalies)
    for anomaly in validation.anomalies:
        info = result.anomaly_info[anomaly.feature] if anomaly.feature else result.dataset_anomaly_info
        info.path.step[:] = [anomaly.feature] if anomaly.feature else []
        info.severity = max(info.severity, info.Severity.Value(anomaly.severity))
        described = f"{anomaly.description} (split {anomaly.split})" if anomaly.split else anomaly.description
        info.reason.add(type=info.Type.Value(anomaly.type), short_description=anomaly.short, description=described)
        info.description = " ".join(reason.description for reason in info.reason)
        shorts = {reason.short_description for reason in info.reason}
        info.short_description = shorts.pop() if len(shorts) == 1 else MULTIPLE
    for feature in sorted({comparison.feature for comparison in validation.comparisons}):
        compared = result.drift_skew_info.add()
        compared.path.step.append(feature)
        for one in (one for one in validation.comparisons if one.feature == feature):
            measurements = compared.drift_measurements if one.kind == "drift" else compared.skew_measurements
            measurements.add(type=one.measure, value=one.value, threshold=one.threshold)
    return result


def write_anomalies(anomalies: anomalies_pb2.Anomalies, artifact_path: str) -> None:
    """Writes `anomalies.pbtxt`, atomically."""
    storage.write_text(storage.join(artifact_path, FILE), text_format.MessageToString(anomalies, as_utf8=True))
