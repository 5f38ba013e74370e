"""The worst mistakes of a model on images, for each task."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from slipway.data.schema import model_inputs, parse_schema
from slipway.evaluation.config import parse_evaluation_config
from slipway.evaluation.mistakes import SHOWN, worst_mistakes
from slipway.evaluation.results import Mistake
from slipway.evaluation.scoring import EvalRows
from tests.example_artifacts import write_examples

SCHEMA = """feature { name: "image" type: INT shape { dim { size: 2 } dim { size: 2 } dim { size: 1 } } }
feature { name: "y" type: INT not_in_environment: "SERVING" }"""


class FirstPixel:
    """Answers what the first pixel of an image says, in the place of a SavedModel."""

    def __init__(self, answers: dict[int, Any]) -> None:
        self._answers = answers

    def inputs(self, signature: str) -> dict[str, Any]:
        return {"image": None}

    def predict(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.array([self._answers[int(image[0, 0, 0])] for image in inputs["image"]], np.float32)


def mistakes(
    folder: Path, task: dict[str, Any], labels: list[int], answers: dict[int, Any], schema: str = SCHEMA
) -> list[Mistake]:
    """Row by row the images have the first pixels 0, 1, …."""
    images = [[number, 9, 9, 255] for number in range(len(labels))]
    write_examples(folder, {"image": pa.array(images, pa.list_(pa.uint8())), "y": labels})
    rows = EvalRows(parse_evaluation_config({"label": {"column": "y"}, **task}), model_inputs(parse_schema(schema)))
    return worst_mistakes(str(folder), rows, lambda path: FirstPixel(answers), "model")


def first_pixels(found: list[Mistake]) -> list[int]:
    pictures = (b64decode(one.picture.partition(",")[2]) for one in found)
    return [int(np.asarray(Image.open(io.BytesIO(png)))[0, 0]) for png in pictures]


DOMAIN = SCHEMA.replace("dim { size: 1 } }", "dim { size: 1 } } int_domain { min: 0 max: 255 }")


@pytest.mark.parametrize("domain", ["int_domain { min: 0 }", "image_domain { max_image_byte_size: 100 }"])
def test_of_a_domain_without_ends_the_picture_has_its_own(tmp_path: Path, domain: str) -> None:
    schema = DOMAIN.replace("int_domain { min: 0 max: 255 }", domain)
    [found] = mistakes(tmp_path, {"task": "binary"}, [0, 1], {0: 0.9, 1: 0.8}, schema)
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(found.picture.partition(",")[2]))))
    assert pixels.reshape(-1).tolist() == [0, 9, 9, 255]


def test_of_several_classes_the_surest_wrong_answer_comes_first(tmp_path: Path) -> None:
    task = {"task": "multiclass", "classes": ["0", "1", "2"]}
    answers = {0: [0.5, 0.3, 0.2], 1: [0.9, 0.06, 0.04], 2: [0.2, 0.7, 0.1], 3: [0.3, 0.3, 0.4]}
    found = mistakes(tmp_path, task, [0, 1, 2, 0], answers, DOMAIN)
    assert first_pixels(found) == [1, 2, 3]
    assert (found[0].label, found[0].prediction) == ("1", "0")
    assert found[0].probability == pytest.approx(0.9)
    assert found[0].label_probability == pytest.approx(0.06)


def test_of_two_classes(tmp_path: Path) -> None:
    found = mistakes(tmp_path, {"task": "binary"}, [0, 1, 1, 0], {0: 0.8, 1: 0.9, 2: 0.1, 3: 0.2}, DOMAIN)
    assert first_pixels(found) == [2, 0]
    assert [(one.label, one.prediction) for one in found] == [("true", "false"), ("false", "true")]
    assert [one.probability for one in found] == pytest.approx([0.9, 0.8])


def test_of_a_regression_the_furthest_come_first(tmp_path: Path) -> None:
    found = mistakes(tmp_path, {"task": "regression"}, [10, 20, 30], {0: 11, 1: 25, 2: 30}, DOMAIN)
    assert first_pixels(found) == [1, 0]
    assert (found[0].label, found[0].prediction, found[0].probability) == ("20", "25", None)


def test_only_so_many_are_kept_and_none_of_models_without_images(tmp_path: Path) -> None:
    labels = [1] * (SHOWN + 9)
    answers = {number: 0.4 - number / 1000 for number in range(len(labels))}
    found = mistakes(tmp_path / "many", {"task": "binary"}, labels, answers, DOMAIN)
    assert first_pixels(found) == list(range(len(labels) - 1, 8, -1))
    flat = SCHEMA.replace("dim { size: 2 } dim { size: 2 } dim { size: 1 }", "dim { size: 4 }")
    assert mistakes(tmp_path / "flat", {"task": "binary"}, labels, answers, flat) == []
