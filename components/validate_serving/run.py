"""Proves that a model can serve: its files, real rows, rows with missing values, the answers recorded in training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.validate_serving.answers import check_answers
from components.validate_serving.files import check_files
from components.validate_serving.recorded import check_golden, check_warmup
from serving.predictor import Predictor
from slipway.errors import GateError
from slipway.examples.dataset import open_split
from slipway.schema.io import model_inputs, read_schema
from slipway.serving_checks import ServingCheck, ServingValidation, write_validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

ROWS = 300


def validate(examples_path: str, schema_path: str, model_path: str, serving_validation_path: str) -> ServingValidation:
    """Writes `validation.json`; a model that cannot serve is a result, not an error.

    Args:
        examples_path: Output of ingest_examples; rows of its eval split are sent.
        schema_path: Output of infer_schema.
        model_path: The candidate.
        serving_validation_path: Where `validation.json` is written.

    Raises:
        GateError: the eval split is empty.
        DataError: the rows do not fit the schema.
    """
    features = model_inputs(read_schema(schema_path))
    rows = _eval_rows(examples_path, features)
    checks = check_files(Path(model_path))
    if all(check.passed for check in checks):
        checks += _check_predictions(Path(model_path), rows, features)
    validation = ServingValidation(servable=all(check.passed for check in checks), checks=checks)
    write_validation(validation, serving_validation_path)
    for check in checks:
        print(f"{'passed' if check.passed else 'FAILED'}  {check.name}: {check.detail}")
    return validation


def _eval_rows(examples_path: str, features: Sequence[schema_pb2.Feature]) -> pa.Table:
    split = open_split(examples_path, "eval")
    columns = [feature.name for feature in features if feature.name in split.schema.names]
    rows = split.head(ROWS, columns=columns)
    if not rows.num_rows:
        raise GateError(f"{examples_path}: the eval split has no rows that could be sent to the model")
    return rows


def _check_predictions(model_path: Path, rows: pa.Table, features: Sequence[schema_pb2.Feature]) -> list[ServingCheck]:
    try:
        predictor = Predictor(model_path)
    except GateError as error:
        return [ServingCheck(name="load", passed=False, detail=str(error))]
    return [
        *check_answers(predictor, rows, features),
        check_golden(predictor, model_path),
        check_warmup(predictor, model_path),
    ]
