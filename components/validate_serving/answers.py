"""Whether every signature answers real and incomplete rows as it must, over one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components.validate_serving.files import PREDICTION_SIGNATURES
from serving.parity import TOLERANCE, largest_difference
from serving.protocol.signatures import CLASSIFY, PREDICTIONS, RAW, SERVING_DEFAULT, TRANSFORM
from serving.protocol.tensor_protos import TENSOR_TYPES
from slipway.data.tensors import dtype_of, raw_inputs, serialize_examples
from slipway.errors import RequestError
from slipway.evaluation.serving_checks import ServingCheck, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from serving.client import ModelClient

    Answer = dict[str, NDArray[Any]]

# A batch of another size may sum in another order.
BATCH_TOLERANCE = 1e-5


def check_answers(client: ModelClient, rows: pa.Table, features: Sequence[schema_pb2.Feature]) -> list[ServingCheck]:
    """Calls each signature once with all rows, and `raw` again with a single row and with one column.

    Args:
        client: A client of the served model.
        rows: Real rows, one at least; rows with missing values are made of the first.
        features: The features that a model may see when it serves.
    """
    return _Prober(client, rows, features).checks()


class _Prober:
    def __init__(self, client: ModelClient, rows: pa.Table, features: Sequence[schema_pb2.Feature]) -> None:
        self._client = client
        self._signatures = client.signatures()
        self._features = features
        self._rows = _with_missing(rows)
        self._names = [f"eval row {index}" for index in range(rows.num_rows)]
        self._names += [f"a row without {name}" for name in rows.column_names]
        self._names += ["a row without any feature"]
        self._raw = raw_inputs(self._rows, features)
        self._examples = np.array(serialize_examples(self._rows, features), dtype=object)
        self._is_classification = CLASSIFY in self._signatures

    def checks(self) -> list[ServingCheck]:
        inputs = {RAW: self._raw, SERVING_DEFAULT: {"examples": self._examples}}
        checks = [self._check_inputs()]
        answers: dict[str, Answer] = {}
        for signature in PREDICTION_SIGNATURES:
            problems = self._call(signature, inputs[signature], answers) or self._predictions(answers[signature])
            checks.append(self._check(signature, problems))
        comparable = all(check.passed for check in checks)
        if self._is_classification:
            checks.append(self._check(CLASSIFY, self._classes(answers)))
        problems = self._call(TRANSFORM, {"examples": self._examples}, answers)
        checks.append(self._check(TRANSFORM, problems or self._transformed(answers)))
        if comparable:
            checks += [self._check_same(answers), self._check_single(answers), self._check_left_out()]
        return checks

    def _check(self, name: str, problems: list[str]) -> ServingCheck:
        detail = "; ".join(problems) or f"{len(self._names)} rows answered"
        return ServingCheck(name=name, passed=not problems, detail=detail)

    def _call(self, signature: str, inputs: Answer, answers: dict[str, Answer]) -> list[str]:
        try:
            answers[signature] = self._client.predict(inputs, signature)
        except RequestError as error:
            return [first_line(error)]
        return []

    def _check_inputs(self) -> ServingCheck:
        expected = {feature.name: dtype_of(feature) for feature in self._features}
        actual = {name: _type_name(info.dtype) for name, info in self._signatures[RAW].inputs.items()}
        problems = [f"{name} of the schema is no input" for name in sorted(expected.keys() - actual.keys())]
        problems += [f"{name} is an input, but no feature" for name in sorted(actual.keys() - expected.keys())]
        for name in sorted(expected.keys() & actual.keys()):
            if expected[name] != actual[name]:
                problems.append(f"{name} is {actual[name]}, the schema says {expected[name]}")
        return ServingCheck(
            name="inputs", passed=not problems, detail="; ".join(problems) or f"{len(actual)} as in the schema"
        )

    def _predictions(self, answer: Answer) -> list[str]:
        if PREDICTIONS not in answer:
            return [f"answers {', '.join(answer)}, not {PREDICTIONS!r}"]
        values = answer[PREDICTIONS]
        if values.dtype != np.float32 or values.ndim not in (1, 2) or len(values) != len(self._names):
            return [
                f"{len(self._names)} rows got {values.dtype} of shape {list(values.shape)}, not float32 [N] or [N, K]"
            ]
        problems = self._bad_rows(~np.isfinite(values), "is not a finite number")
        if self._is_classification and not problems:
            problems = self._bad_rows((values < 0) | (values > 1), "is no probability", values)
            if values.ndim == 2 and not problems:
                sums = values.sum(axis=1)
                problems = self._bad_rows(np.abs(sums - 1) > 1e-4, "is the sum of the probabilities, not 1", sums)
        return problems

    def _classes(self, answers: dict[str, Answer]) -> list[str]:
        try:
            rows = self._client.classify(self._examples.tolist())
        except RequestError as error:
            return [first_line(error)]
        names = list(rows[0])
        if len(rows) != len(self._names) or any(list(row) != names for row in rows) or "" in names:
            return [f"{len(self._names)} rows got {len(rows)} answers, the first with the classes {names}"]
        predictions = answers.get(SERVING_DEFAULT, {}).get(PREDICTIONS)
        if predictions is None:
            return []
        expected = predictions if predictions.ndim == 2 else np.stack([1 - predictions, predictions], axis=1)
        apart, row = largest_difference(np.array([list(row.values()) for row in rows]), expected)
        where = f"by {apart:.3g} on {self._names[row]}"
        return [f"scores differ from the predictions {where}"] if apart > TOLERANCE else []

    def _transformed(self, answers: dict[str, Answer]) -> list[str]:
        problems = []
        for name, values in answers[TRANSFORM].items():
            if values.ndim == 0 or len(values) != len(self._names):
                problems.append(f"{name} has the shape {list(values.shape)} for {len(self._names)} rows")
            elif values.dtype.kind == "f":
                problems += self._bad_rows(~np.isfinite(values), f"of {name} is not a finite number")
        return problems

    def _check_same(self, answers: dict[str, Answer]) -> ServingCheck:
        apart, row = largest_difference(answers[RAW][PREDICTIONS], answers[SERVING_DEFAULT][PREDICTIONS])
        return ServingCheck(
            name="raw equals serving_default",
            passed=apart <= TOLERANCE,
            detail=f"largest difference {apart:.3g}, on {self._names[row]}, allowed {TOLERANCE:g}",
        )

    def _check_single(self, answers: dict[str, Answer]) -> ServingCheck:
        name = "a row alone equals the same row in a batch"
        try:
            alone = self._client.predict({name: value[:1] for name, value in self._raw.items()}, RAW)
        except RequestError as error:
            return ServingCheck(name=name, passed=False, detail=first_line(error))
        apart, _ = largest_difference(alone[PREDICTIONS], answers[RAW][PREDICTIONS][:1])
        detail = f"difference {apart:.3g}, allowed {BATCH_TOLERANCE:g}"
        return ServingCheck(name=name, passed=apart <= BATCH_TOLERANCE, detail=detail)

    def _check_left_out(self) -> ServingCheck:
        """A request may leave inputs of `raw` out: the server takes their defaults."""
        kept = self._features[0].name
        rows = len(self._names)
        given = {kept: self._raw[kept]}
        missing = {name: np.repeat(value[-1:], rows, axis=0) for name, value in self._raw.items()}
        name = "features left out equal missing ones"
        try:
            answers = [self._client.predict(inputs, RAW)[PREDICTIONS] for inputs in (given, missing | given)]
        except RequestError as error:
            return ServingCheck(name=name, passed=False, detail=first_line(error))
        apart, row = largest_difference(*answers)
        detail = f"largest difference {apart:.3g}, on {self._names[row]} with {kept} alone, allowed {TOLERANCE:g}"
        return ServingCheck(name=name, passed=apart <= TOLERANCE, detail=detail)

    def _bad_rows(self, bad: NDArray[Any], what: str, values: NDArray[Any] | None = None) -> list[str]:
        """One line for all rows that are bad, with the first of them."""
        rows = bad.reshape(len(bad), -1).any(axis=1)
        if not rows.any():
            return []
        row = int(np.argmax(rows))
        value = "the answer" if values is None else f"{np.ravel(values[row])[int(np.argmax(np.ravel(bad[row])))]:.6g}"
        return [f"{value} {what} on {int(rows.sum())} rows, first on {self._names[row]}"]


def _type_name(number: int) -> str:
    name = TENSOR_TYPES[number].numpy.name if number in TENSOR_TYPES else f"TensorFlow's type {number}"
    return "string" if name == "object" else name


def _with_missing(rows: pa.Table) -> pa.Table:
    """The rows; then the first again with each column missing in turn; then all missing."""
    import pyarrow as pa

    first = rows.slice(0, 1)
    nothing = [pa.nulls(1, field.type) for field in rows.schema]
    without_one = [first.set_column(index, field, nothing[index]) for index, field in enumerate(rows.schema)]
    return pa.concat_tables([rows, *without_one, pa.table(nothing, schema=rows.schema)])
