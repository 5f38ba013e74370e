"""Whether every signature answers real, incomplete and golden rows as it must, over gRPC and over REST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from serving.client import ClientProtocol, connect
from serving.parity import TOLERANCE, largest_difference
from serving.protocol.signatures import CLASSIFY, PREDICTIONS, RAW, SERVING_DEFAULT, TRANSFORM
from serving.protocol.tensor_protos import TENSOR_TYPES
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from slipway.data.tensors import dtype_of, raw_inputs, serialize_examples
from slipway.errors import RequestError, StoreError
from slipway.evaluation.golden import FILE as GOLDEN
from slipway.evaluation.golden import read_golden
from slipway.evaluation.serving_checks import ServingCheck, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from serving.client import ModelClient

    Answer = dict[str, NDArray[Any]]

MODEL = "candidate"
TIMEOUT_SECONDS = 600.0  # at its first request TensorFlow optimises a signature: 19 CPU s for 750 inputs
MOST_LEFT_OUT = 100  # rows that lack columns
BATCH_TOLERANCE = 1e-5  # a batch of another size may sum in another order


def check_served(model_path: Path, rows: pa.Table, features: Sequence[schema_pb2.Feature]) -> list[ServingCheck]:
    """Serves the model and sends it requests.

    Args:
        model_path: The SavedModel.
        rows: Real rows, one at least; rows with missing values are made of the first.
        features: The features that a model may see when it serves.
    """
    server = ModelServer(OneVersion(MODEL, model_path), ServerConfig(grpc_port=0, rest_port=0, max_load_retries=0))
    try:
        server.start()
    except StoreError as error:
        return [ServingCheck.of("load", [first_line(error)])]
    checks = []
    addresses: dict[ClientProtocol, int | None] = {"grpc": server.grpc_port, "rest": server.rest_port}
    try:
        for protocol, port in addresses.items():
            with connect(f"localhost:{port}", MODEL, protocol=protocol, timeout_seconds=TIMEOUT_SECONDS) as client:
                answered = _Prober(client, rows, features).checks(model_path)
            checks += [check.model_copy(update={"name": f"{protocol}: {check.name}"}) for check in answered]
    finally:
        server.stop()
    return checks


class _Prober:
    """Calls each signature once with all rows, and `raw` again with a single row and with one column."""

    def __init__(self, client: ModelClient, rows: pa.Table, features: Sequence[schema_pb2.Feature]) -> None:
        self._client = client
        self._signatures = client.signatures()
        self._features = features
        self._names = [f"eval row {index}" for index in range(rows.num_rows)]
        left_out = columns_left_out(rows.column_names)
        self._names += [f"a row without {_listed(names)}" for names in left_out]
        self._names += ["a row without any feature"]
        rows = _with_missing(rows, [*left_out, rows.column_names])
        self._raw = raw_inputs(rows, features)
        self._examples = np.array(serialize_examples(rows, features), dtype=object)
        self._answers: dict[str, Answer] = {}

    def checks(self, model_path: Path) -> list[ServingCheck]:
        checks = [
            self._check_inputs(),
            self._check(RAW, self._raw, self._predictions),
            self._check(SERVING_DEFAULT, {"examples": self._examples}, self._predictions),
        ]
        comparable = all(check.passed for check in checks)
        if CLASSIFY in self._signatures:
            checks.append(ServingCheck.of(CLASSIFY, self._classes(), self._answered))
        checks.append(self._check(TRANSFORM, {"examples": self._examples}, self._transformed))
        if comparable:
            checks += self._compare_predictions()
        return [*checks, self._check_golden(model_path)]

    @property
    def _answered(self) -> str:
        return f"{len(self._names)} rows answered"

    def _check(self, signature: str, inputs: Answer, problems_of: Callable[[Answer], list[str]]) -> ServingCheck:
        try:
            self._answers[signature] = self._client.predict(inputs, signature)
        except RequestError as error:
            return ServingCheck.of(signature, [first_line(error)])
        return ServingCheck.of(signature, problems_of(self._answers[signature]), self._answered)

    def _check_inputs(self) -> ServingCheck:
        expected = {feature.name: dtype_of(feature) for feature in self._features}
        actual = {name: _type_name(info.dtype) for name, info in self._signatures[RAW].inputs.items()}
        problems = [f"{name} of the schema is no input" for name in sorted(expected.keys() - actual.keys())]
        problems += [f"{name} is an input, but no feature" for name in sorted(actual.keys() - expected.keys())]
        for name in sorted(expected.keys() & actual.keys()):
            if expected[name] != actual[name]:
                problems.append(f"{name} is {actual[name]}, the schema says {expected[name]}")
        return ServingCheck.of("inputs", problems, f"{len(actual)} as in the schema")

    def _predictions(self, answer: Answer) -> list[str]:
        if PREDICTIONS not in answer:
            return [f"answers {', '.join(answer)}, not {PREDICTIONS!r}"]
        values, rows = answer[PREDICTIONS], len(self._names)
        if values.dtype != np.float32 or values.ndim not in (1, 2) or len(values) != rows:
            return [f"{rows} rows got {values.dtype} of shape {list(values.shape)}, not float32 [N] or [N, K]"]
        problems = self._bad_rows(~np.isfinite(values), "is not a finite number")
        if CLASSIFY in self._signatures and not problems:
            problems = self._bad_rows((values < 0) | (values > 1), "is no probability", values)
            if values.ndim == 2 and not problems:
                sums = values.sum(axis=1)
                problems = self._bad_rows(np.abs(sums - 1) > 1e-4, "is the sum of the probabilities, not 1", sums)
        return problems

    def _classes(self) -> list[str]:
        try:
            rows = self._client.classify(self._examples.tolist())
        except RequestError as error:
            return [first_line(error)]
        names = list(rows[0])
        if len(rows) != len(self._names) or any(list(row) != names for row in rows) or "" in names:
            return [f"{len(self._names)} rows got {len(rows)} answers, the first with the classes {names}"]
        predictions = self._answers.get(SERVING_DEFAULT, {}).get(PREDICTIONS)
        if predictions is None:
            return []
        expected = predictions if predictions.ndim == 2 else np.stack([1 - predictions, predictions], axis=1)
        apart, row = largest_difference(np.array([list(row.values()) for row in rows]), expected)
        where = f"by {apart:.3g} on {self._names[row]}"
        return [f"scores differ from the predictions {where}"] if apart > TOLERANCE else []

    def _transformed(self, answer: Answer) -> list[str]:
        problems = []
        for name, values in answer.items():
            if values.ndim == 0 or len(values) != len(self._names):
                problems.append(f"{name} has the shape {list(values.shape)} for {len(self._names)} rows")
            elif values.dtype.kind == "f":
                problems += self._bad_rows(~np.isfinite(values), f"of {name} is not a finite number")
        return problems

    def _compare_predictions(self) -> list[ServingCheck]:
        """The same rows, sent in another way; a request may leave inputs out, and the server takes their defaults."""
        raw, default = self._answers[RAW][PREDICTIONS], self._answers[SERVING_DEFAULT][PREDICTIONS]
        first = {name: value[:1] for name, value in self._raw.items()}
        kept = self._features[0].name
        given = {kept: self._raw[kept]}
        missing = {name: np.repeat(value[-1:], len(self._names), axis=0) for name, value in self._raw.items()} | given

        def ask(inputs: Answer) -> NDArray[Any]:
            return self._client.predict(inputs, RAW)[PREDICTIONS]

        alone = [f"{name} with {kept} alone" for name in self._names]
        batch = "a row alone equals the same row in a batch"
        return [
            _compare("raw equals serving_default", lambda: (raw, default), self._names),
            _compare(batch, lambda: (ask(first), raw[:1]), self._names, BATCH_TOLERANCE),
            _compare("features left out equal missing ones", lambda: (ask(given), ask(missing)), alone),
        ]

    def _check_golden(self, model_path: Path) -> ServingCheck:
        """Whether `serving_default` answers what training computed."""
        name = "golden answers"
        try:
            golden = read_golden(model_path)
        except (StoreError, ValueError) as error:
            return ServingCheck.of(name, [f"{GOLDEN}: {error}"])
        if PREDICTIONS not in self._signatures[SERVING_DEFAULT].outputs:
            return ServingCheck.of(name, [f"{SERVING_DEFAULT} does not answer {PREDICTIONS!r}"])
        examples = np.array(golden.serialized(), dtype=object)
        wanted = np.array(golden.predictions, dtype=np.float32)
        rows = [f"row {index} of {len(wanted)} rows of training" for index in range(len(wanted))]
        answer = self._client.predict
        return _compare(name, lambda: (answer({"examples": examples}, SERVING_DEFAULT)[PREDICTIONS], wanted), rows)

    def _bad_rows(self, bad: NDArray[Any], what: str, values: NDArray[Any] | None = None) -> list[str]:
        """One line for all rows that are bad, with the first of them."""
        rows = bad.reshape(len(bad), -1).any(axis=1)
        if not rows.any():
            return []
        row = int(np.argmax(rows))
        value = "the answer" if values is None else f"{np.ravel(values[row])[int(np.argmax(np.ravel(bad[row])))]:.6g}"
        return [f"{value} {what} on {int(rows.sum())} rows, first on {self._names[row]}"]


def _compare(
    name: str,
    answers: Callable[[], tuple[NDArray[Any], NDArray[Any]]],
    rows: Sequence[str],
    tolerance: float = TOLERANCE,
) -> ServingCheck:
    try:
        apart, row = largest_difference(*answers())
    except RequestError as error:
        return ServingCheck.of(name, [first_line(error)])
    detail = f"largest difference {apart:.3g}, on {rows[row]}, allowed {tolerance:g}"
    return ServingCheck(name=name, passed=apart <= tolerance, detail=detail)


def _type_name(number: int) -> str:
    name = TENSOR_TYPES[number].numpy.name if number in TENSOR_TYPES else f"TensorFlow's type {number}"
    return "string" if name == "object" else name


def columns_left_out(names: list[str]) -> list[list[str]]:
    """The columns that rows go without: each alone or, of many, `MOST_LEFT_OUT` parts, so that requests stay small."""
    size = -(-len(names) // MOST_LEFT_OUT)
    return [names[start : start + size] for start in range(0, len(names), size)]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _with_missing(rows: pa.Table, left_out: list[list[str]]) -> pa.Table:
    """The rows; then the first again, once without each of these columns."""
    first, places = rows.slice(0, 1), {name: place for place, name in enumerate(rows.column_names)}
    tables = [rows]
    for names in left_out:
        columns = first.columns
        for place in map(places.__getitem__, names):
            columns[place] = pa.nulls(1, first.schema.field(place).type)
        tables.append(pa.table(columns, schema=first.schema))
    return pa.concat_tables(tables)
