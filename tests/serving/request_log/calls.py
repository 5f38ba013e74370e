"""Calls in the forms of TensorFlow Serving, and the rows that the log has of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.dataset as ds
from prometheus_client import CollectorRegistry

from serving.protocol.protos import example_pb2, predict_pb2
from serving.protocol.tensor_protos import tensor_proto
from serving.request_log import LoggedCall

DAY = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def rest_call(request: Any, answer: Any, method: str = "predict", **changes: Any) -> LoggedCall:
    request, answer = (each if isinstance(each, bytes) else json.dumps(each).encode() for each in (request, answer))
    return _call("rest", method, request, answer, changes)


def grpc_call(request: Any, answer: Any, method: str = "predict", **changes: Any) -> LoggedCall:
    return _call("grpc", method, request, answer, changes)


def _call(
    protocol: Literal["rest", "grpc"], method: str, request: Any, answer: Any, changes: dict[str, Any]
) -> LoggedCall:
    given: dict[str, Any] = {
        "request_id": "id",
        "model": "taxi",
        "version": 3,
        "started": time.time(),
        "latency_seconds": 0.002,
    }
    return LoggedCall(protocol=protocol, method=method, request=request, response=answer, **(given | changes))


def predict_request(inputs: Mapping[str, Any], signature: str = "", model: str = "taxi") -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tensor_proto(array))
    return request


def predict_answer(outputs: Mapping[str, Any], version: int = 3, model: str = "taxi") -> Any:
    answer = predict_pb2.PredictResponse()
    answer.model_spec.name = model
    answer.model_spec.version.value = version
    for name, array in outputs.items():
        answer.outputs[name].CopyFrom(tensor_proto(array))
    return answer


def example(**features: Any) -> Any:
    made = example_pb2.Example()
    for name, values in features.items():
        feature = made.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return made


def strings(*values: bytes) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def numbered(number: int, **changes: Any) -> LoggedCall:
    """A small call with a feature `n` and its answer."""
    return rest_call(
        {"instances": [{"n": number}]}, {"predictions": [number / 2]}, **({"request_id": f"r{number}"} | changes)
    )


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All rows, by time and instance."""
    table = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: (row["time"], row["instance"]))


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def features_of(row: dict[str, Any]) -> dict[str, Any]:
    """Name to values of the one kind that is there."""
    return {each.pop("name"): next(v for v in each.values() if v is not None) for each in row["features"]}


def count(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"slipway_request_log_{name}_total", labels) or 0.0


def accounted(registry: CollectorRegistry) -> float:
    """Calls that ended in any of the counters."""
    names = ("logged", "dropped", "failed")
    return sum(
        sample.value
        for metric in registry.collect()
        if metric.name.removeprefix("slipway_request_log_") in names
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
