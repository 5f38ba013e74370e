"""Loads a version and replays its recorded warm-up requests, before it gets any traffic."""

from __future__ import annotations

from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from serving.protocol.errors import ServingError, invalid_argument
from serving.protocol.protos import prediction_log_pb2
from serving.server import inference
from serving.server.servable import Servable
from slipway.data.tfrecord import read_records
from slipway.errors import DataError

FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000
_ANSWERS = {
    "predict_log": inference.predict,
    "classify_log": inference.classify,
    "regress_log": inference.regress,
    "multi_inference_log": inference.multi_inference,
}


def load_servable(name: str, version: int, path: Path) -> Servable:
    """A version that has answered its warm-up requests; as in TensorFlow Serving, one that cannot is not loaded."""
    servable = Servable(name, version, path)
    try:
        if (path / FILE).exists():
            _warm_up(servable, path / FILE)
    except BaseException:
        servable.close()
        raise
    return servable


def _warm_up(servable: Servable, path: Path) -> None:
    """Replays recorded requests (`servables/tensorflow/saved_model_warmup.cc`)."""
    try:
        records = read_records(path)
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records[: MAX_RECORDS + 1]]
    except (DataError, DecodeError) as error:
        text = f"Failed to parse warmup records: {path} is not a TFRecord of PredictionLog: {error}"
        raise ServingError(grpc.StatusCode.DATA_LOSS, text) from error
    if len(logs) > MAX_RECORDS:
        raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
    for log in logs:
        kind = log.WhichOneof("log_type")
        if kind in _ANSWERS:
            _ANSWERS[kind](servable, getattr(log, kind).request)
        elif kind:
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
