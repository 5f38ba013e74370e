"""Whether the requests that training recorded beside the model are answered: golden and warm-up requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serving.parity import TOLERANCE, largest_difference
from serving.protocol.signatures import PREDICTIONS, SERVING_DEFAULT
from serving.server.warmup import FILE as WARMUP
from serving.server.warmup import MAX_RECORDS
from slipway.data.tfrecord import read_records
from slipway.errors import DataError, RequestError
from slipway.evaluation.golden import FILE as GOLDEN
from slipway.evaluation.golden import read_golden
from slipway.evaluation.serving_checks import ServingCheck, first_line

if TYPE_CHECKING:
    from serving.client import ModelClient


def check_golden(client: ModelClient, model_path: Path) -> ServingCheck:
    """`serving_default` answers what training computed."""
    name = "golden answers"
    try:
        golden = read_golden(model_path)
        answer = client.predict({"examples": np.array(golden.serialized(), dtype=object)}, SERVING_DEFAULT)
    except FileNotFoundError:
        return ServingCheck(name=name, passed=False, detail=f"{GOLDEN} is missing")
    except ValueError as error:
        return ServingCheck(name=name, passed=False, detail=f"{GOLDEN}: {error}")
    except RequestError as error:
        return ServingCheck(name=name, passed=False, detail=first_line(error))
    if PREDICTIONS not in answer:
        return ServingCheck(name=name, passed=False, detail=f"serving_default does not answer {PREDICTIONS!r}")
    apart, row = largest_difference(answer[PREDICTIONS], np.array(golden.predictions, dtype=np.float32))
    rows = len(golden.examples)
    return ServingCheck(
        name=name,
        passed=apart <= TOLERANCE,
        detail=f"largest difference from training {apart:.3g} on {rows} rows, in row {row}, allowed {TOLERANCE:g}",
    )


def check_warmup(model_path: Path) -> ServingCheck:
    """There are warm-up requests; the server has replayed them when it loaded the model."""
    name = "warm-up requests"
    path = model_path / WARMUP
    if not path.is_file():
        return ServingCheck(name=name, passed=False, detail=f"{WARMUP} is missing")
    try:
        count = len(read_records(path))
    except DataError as error:
        return ServingCheck(name=name, passed=False, detail=first_line(error))
    return ServingCheck(
        name=name, passed=0 < count <= MAX_RECORDS, detail=f"{count} records, 1 to {MAX_RECORDS} allowed"
    )
