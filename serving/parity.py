"""Compares a model's answers in training, in this process, over REST and over gRPC.

The model brings the inputs and results of training for a few rows (`slipway.evaluation.golden`); every signature is
asked for the same rows in every way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.client.rows import input_features
from serving.predictor import Predictor
from serving.protocol.signatures import CLASSIFY, PREDICTIONS, RAW, SERVING_DEFAULT, TRANSFORM
from slipway.data.tensors import raw_inputs
from slipway.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from serving.client import ModelClient
    from slipway.evaluation.golden import Golden

TOLERANCE = 1e-6


class InProcess:
    """A SavedModel in this process; raises `GateError` where it cannot be loaded or does not answer."""

    def __init__(self, path: Path) -> None:
        self._predictor = Predictor(path)

    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` by name."""
        return self._predictor.signatures

    def predict(self, inputs: Mapping[str, NDArray[Any]], signature: str) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        return self._predictor.call(signature, dict(inputs))

    def classify(self, examples: Sequence[bytes]) -> list[dict[str, float]]:
        """Score of each class, for each serialized tf.Example."""
        answer = self.predict({"inputs": np.array(examples, object)}, CLASSIFY)
        pairs = zip(answer["classes"].tolist(), answer["scores"].tolist(), strict=True)
        return [{label.decode(): score for label, score in zip(*pair, strict=True)} for pair in pairs]


Askable: TypeAlias = "ModelClient | InProcess"


@dataclass(frozen=True)
class Difference:
    """Largest difference of a signature's answers from training's, for one `way`; relative for values above 1."""

    way: str
    signature: str
    rows: int
    largest: float
    row: int

    @property
    def agrees(self) -> bool:
        """Whether the difference is due to rounding."""
        return self.largest <= TOLERANCE


def compare_with_training(golden: Golden, ways: Mapping[str, Askable]) -> list[Difference]:
    """Asks each signature of a model in each way for the golden rows.

    Raises:
        GateError: the model has no values of the transform, which older versions did not record.
        RequestError: a way gives no answer.
    """
    if not golden.transformed:
        raise GateError("the model's golden requests lack the transformed values: train and push it again")
    return [
        Difference(way, signature, len(golden.examples), *largest_difference(answer, expected))
        for way, asked in ways.items()
        for signature, answer, expected in _answers(golden, asked)
    ]


def largest_difference(answer: NDArray[Any], expected: NDArray[Any]) -> tuple[float, int]:
    """Largest difference and its row; relative to expected values above 1, infinite for other shapes or NaN."""
    if answer.size != expected.size:
        return float("inf"), 0
    if not answer.size:
        return 0.0, 0
    answer, expected = (each.reshape(len(expected), -1).astype(np.float64) for each in (answer, expected))
    same = np.isnan(answer) & np.isnan(expected)
    with np.errstate(invalid="ignore"):
        apart = np.abs(answer - expected) / np.maximum(1.0, np.abs(expected))
    rows = np.max(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)), axis=1)
    return float(np.max(rows)), int(np.argmax(rows))


def _answers(golden: Golden, way: Askable) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    examples = golden.serialized()
    strings = np.array(examples, object)
    expected = np.array(golden.predictions, np.float32)
    signatures = way.signatures()
    raw = raw_inputs(ExamplesToRecordBatchDecoder().DecodeBatch(examples), input_features(signatures))
    answers = [
        (SERVING_DEFAULT, way.predict({"examples": strings}, SERVING_DEFAULT)[PREDICTIONS], expected),
        (RAW, way.predict(raw, RAW)[PREDICTIONS], expected),
    ]
    if CLASSIFY in signatures:
        scores = np.array([list(row.values()) for row in way.classify(examples)])
        answers.append((CLASSIFY, scores, np.stack([1 - expected, expected], 1) if expected.ndim == 1 else expected))
    transformed = way.predict({"examples": strings}, TRANSFORM)
    trained = {name: np.array(values) for name, values in golden.transformed.items()}
    return [*answers, (TRANSFORM, _side_by_side(transformed, trained), _side_by_side(trained, trained))]


def _side_by_side(columns: Mapping[str, NDArray[Any]], names: Mapping[str, Any]) -> NDArray[Any]:
    return np.concatenate([columns[name].reshape(len(columns[name]), -1) for name in sorted(names)], axis=1)
