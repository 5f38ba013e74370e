"""The worst mistakes of a model on images, as pictures: what is hard is seen at a glance, and so are wrong labels."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.data.images import data_uri, encode_png, is_image
from slipway.data.tensors import fixed_shape, raw_inputs
from slipway.evaluation.results import Mistake
from slipway.evaluation.scoring import EvalRows, Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.evaluation.scoring import LoadPredictor

SHOWN = 24


def worst_mistakes(examples_path: str, rows: EvalRows, load: LoadPredictor, model_path: str) -> list[Mistake]:
    """The most confident of the wrong answers on the eval split; none for models that see no image.

    Of a regression, the answers that are furthest off.
    """
    images = [feature for feature in rows.features if is_image(fixed_shape(feature))]
    if not images:
        return []
    image, scorer = images[0], Scorer(load, model_path, rows)
    worst: list[tuple[float, Mistake]] = []
    for batch in rows.batches(examples_path):
        inputs = raw_inputs(batch, rows.features)
        labels, answers = rows.labels(batch), scorer.predict(inputs, batch.num_rows)
        badness = _badness(rows, labels, answers)
        for index in np.argsort(-badness, kind="stable")[:SHOWN].tolist():
            if badness[index] > 0:
                mistake = _mistake(rows, labels[index], answers[index], _picture(image, inputs[image.name][index]))
                worst.append((float(badness[index]), mistake))
        worst = nlargest(SHOWN, worst, key=lambda each: each[0])
    return [mistake for _, mistake in worst]


def _badness(rows: EvalRows, labels: NDArray[Any], answers: NDArray[np.float32]) -> NDArray[np.float64]:
    """How bad each answer is; 0 for a right one, and for one that is no number."""
    answers = np.nan_to_num(answers.astype(np.float64))
    if rows.config.task == "regression":
        return np.abs(answers - labels.astype(np.float64))
    scores = answers if answers.ndim == 2 else np.stack([1 - answers, answers], axis=1)
    wrong = scores.argmax(axis=1) != labels
    return np.where(wrong, 1 - scores[np.arange(len(labels)), labels.astype(int)], 0.0)


def _mistake(rows: EvalRows, label: Any, answer: Any, picture: str) -> Mistake:
    if rows.config.task == "regression":
        return Mistake(label=f"{label:.4g}", prediction=f"{answer:.4g}", picture=picture)
    scores, names = answer if answer.ndim else np.array([1 - answer, answer]), rows.config.class_names
    chosen = int(scores.argmax())
    return Mistake(
        label=names[int(label)],
        prediction=names[chosen],
        probability=float(scores[chosen]),
        label_probability=float(scores[int(label)]),
        picture=picture,
    )


def _picture(feature: schema_pb2.Feature, values: NDArray[Any]) -> str:
    """The image, from black to white over the feature's domain, or over its own values where that has no end."""
    domain = feature.float_domain if feature.HasField("float_domain") else feature.int_domain
    low, high = (domain.min, domain.max) if domain.max > domain.min else (float(values.min()), float(values.max()))
    return data_uri(encode_png(values, values.shape, low, high))
