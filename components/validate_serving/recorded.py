"""Whether the requests that training recorded beside the model are answered: golden and warm-up requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from components.validate_serving.answers import TOLERANCE, difference
from serving.predictor import PREDICTIONS, Predictor
from slipway.errors import GateError
from slipway.golden import FILE as GOLDEN
from slipway.golden import read_golden
from slipway.serving_checks import ServingCheck

WARMUP = "assets.extra/tf_serving_warmup_requests"
# TensorFlow Serving reads no more of them.
WARMUP_LIMIT = 1000


def check_golden(predictor: Predictor, model_path: Path) -> ServingCheck:
    """`serving_default` answers what training computed."""
    name = "golden answers"
    try:
        golden = read_golden(model_path)
        answer = predictor.call("serving_default", {"examples": np.array(golden.serialized(), dtype=object)})
    except FileNotFoundError:
        return ServingCheck(name=name, passed=False, detail=f"{GOLDEN} is missing")
    except (ValueError, GateError) as error:
        return ServingCheck(name=name, passed=False, detail=f"{GOLDEN}: {error}")
    if PREDICTIONS not in answer:
        return ServingCheck(name=name, passed=False, detail=f"serving_default does not answer {PREDICTIONS!r}")
    apart = difference(answer[PREDICTIONS], np.array(golden.predictions, dtype=np.float32))
    return ServingCheck(
        name=name,
        passed=apart <= TOLERANCE,
        detail=f"largest difference from training {apart:.3g} on {len(golden.examples)} rows, allowed {TOLERANCE:g}",
    )


def check_warmup(predictor: Predictor, model_path: Path) -> ServingCheck:
    """Every warm-up record parses and is answered: one that fails would fail the load in TensorFlow Serving."""
    name = "warm-up requests"
    path = model_path / WARMUP
    if not path.is_file():
        return ServingCheck(name=name, passed=False, detail=f"{WARMUP} is missing")
    try:
        records = _read_records(path)
        for record in records:
            _replay(predictor, record)
    except (ValueError, TypeError, GateError) as error:
        return ServingCheck(name=name, passed=False, detail=f"{WARMUP}: {error}")
    passed = 0 < len(records) <= WARMUP_LIMIT
    return ServingCheck(name=name, passed=passed, detail=f"{len(records)} records, 1 to {WARMUP_LIMIT} allowed")


def _read_records(path: Path) -> list[Any]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        serialized = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        return [prediction_log_pb2.PredictionLog.FromString(record) for record in serialized]
    except (DecodeError, tf.errors.OpError) as error:
        raise ValueError(f"not a TFRecord of PredictionLog: {error}") from error


def _replay(predictor: Predictor, record: Any) -> None:
    import tensorflow as tf

    kind = record.WhichOneof("log_type")
    if kind == "predict_log":
        request = record.predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        predictor.call(request.model_spec.signature_name or "serving_default", inputs)
    elif kind == "classify_log":
        request = record.classify_log.request
        examples = [example.SerializeToString() for example in request.input.example_list.examples]
        predictor.call(request.model_spec.signature_name or "serving_default", {"inputs": np.array(examples, object)})
    else:
        raise ValueError(f"a record of kind {kind}; Slipway's models answer predict and classify")
