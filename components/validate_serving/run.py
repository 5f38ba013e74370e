"""Proves that a model can serve: its files, then real requests to a real server, over gRPC and over REST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.validate_serving.answers import check_answers
from components.validate_serving.files import check_files
from components.validate_serving.recorded import check_golden, check_warmup
from serving.client import ClientProtocol, connect
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from slipway.data.examples.dataset import open_split
from slipway.data.schema import model_inputs, read_schema
from slipway.errors import GateError, StoreError
from slipway.evaluation.serving_checks import ServingCheck, ServingValidation, first_line, write_validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

ROWS = 300
MODEL = "candidate"
TIMEOUT_SECONDS = 60.0


def validate(examples_path: str, schema_path: str, model_path: str, serving_validation_path: str) -> ServingValidation:
    """Writes `validation.json`; a model that cannot serve is a result, not an error.

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
    warmup = check_warmup(model_path)
    server = ModelServer(OneVersion(MODEL, model_path), ServerConfig(grpc_port=0, rest_port=0, max_load_retries=0))
    try:
        server.start()
    except StoreError as error:
        return [warmup, ServingCheck(name="load", passed=False, detail=first_line(error))]
    checks = [warmup]
    addresses: dict[ClientProtocol, int | None] = {"grpc": server.grpc_port, "rest": server.rest_port}
    try:
        for protocol, port in addresses.items():
            with connect(f"localhost:{port}", MODEL, protocol=protocol, timeout_seconds=TIMEOUT_SECONDS) as client:
                answered = [*check_answers(client, rows, features), check_golden(client, model_path)]
            checks += [check.model_copy(update={"name": f"{protocol}: {check.name}"}) for check in answered]
    finally:
        server.stop()
    return checks
