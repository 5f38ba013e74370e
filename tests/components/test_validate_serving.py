import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from components.validate_serving.answers import MOST_LEFT_OUT, columns_left_out
from slipway.errors import GateError
from slipway.evaluation.golden import read_golden, write_golden
from slipway.evaluation.serving_checks import ServingValidation, read_validation
from tests.served_models import (
    TinyModel,
    edit_signatures,
    write_examples,
    write_saved_model,
    write_schema,
    write_warmup,
)
from tests.steps import validate_model as validate


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[Path], ServingValidation]:
    examples, schema = write_examples(tmp_path / "examples"), write_schema(tmp_path / "schema")
    return lambda model: validate(str(examples), str(schema), str(model), str(tmp_path / "validation"))


@pytest.fixture(scope="module")
def sound_model(tiny_model: Path) -> Path:
    return tiny_model


Judge = Callable[[Path], ServingValidation]


def failed(validation: ServingValidation) -> dict[str, str]:
    assert validation.servable == all(check.passed for check in validation.checks)
    return {check.name: check.detail for check in validation.checks if not check.passed}


ASKED = [
    "inputs",
    "raw",
    "serving_default",
    "classify",
    "transform_features",
    "raw equals serving_default",
    "a row alone equals the same row in a batch",
    "features left out equal missing ones",
    "golden answers",
]


def test_validate_sound_classifier_is_servable(judge: Judge, sound_model: Path, tmp_path: Path) -> None:
    validation = judge(sound_model)
    assert failed(validation) == {}
    assert [check.name for check in validation.checks] == [
        "files",
        "signatures",
        "operations",
        "warm-up requests",
        *(f"grpc: {name}" for name in ASKED),
        *(f"rest: {name}" for name in ASKED),
    ]
    assert read_validation(tmp_path / "validation") == validation


def test_validate_sound_regression_is_servable(judge: Judge, tmp_path: Path) -> None:
    validation = judge(write_saved_model(tmp_path / "model", TinyModel(classification=False)))
    assert failed(validation) == {}
    assert not [check.name for check in validation.checks if "classify" in check.name]


@pytest.mark.parametrize(
    ("attribute", "value", "check", "message"),
    [
        pytest.param(
            "fill_size",
            lambda size: size,
            "raw",
            "not a finite number on .*first on (eval row|a row without size)",
            marks=pytest.mark.slow,
        ),
        ("finish", lambda p: p * float("nan"), "raw", "not a finite number on 44 rows, first on eval row 0"),
        pytest.param("finish", lambda p: p * 3, "raw", r"[12]\.\d+ is no probability on", marks=pytest.mark.slow),
        pytest.param(
            "finish",
            lambda p: tf.cast(p, tf.float64),
            "raw",
            r"44 rows got float64 of shape \[44\], not float32",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "finish",
            lambda p: tf.stack([p, p], 1),
            "raw",
            "is the sum of the probabilities, not 1",
            marks=pytest.mark.slow,
        ),
        ("finish", lambda p: p - tf.reduce_mean(p) / 9, "a row alone equals the same row in a batch", "difference 0"),
        pytest.param(
            "finish",
            lambda p: p + 1e-9 * tf.gather(p, 1),
            "a row alone equals the same row in a batch",
            "is not in",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "rows_of",
            lambda size, rooms, town: tf.shape(town)[0],
            "features left out equal missing ones",
            "Unable to broadcast",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "finish_examples",
            lambda p: p * 0.999,
            "raw equals serving_default",
            "largest difference 0.000",
            marks=pytest.mark.slow,
        ),
        ("scores", lambda p: tf.stack([p, 1 - p], axis=1), "classify", "scores differ from the predictions by 0"),
    ],
)
def test_validate_wrong_answers_are_named(
    judge: Judge, tmp_path: Path, attribute: str, value: Any, check: str, message: str
) -> None:
    model = TinyModel()
    setattr(model, attribute, value)
    problems = failed(judge(write_saved_model(tmp_path / "model", model)))
    for protocol in ("grpc", "rest"):
        found = problems.get(f"{protocol}: {check}", f"{check} passed over {protocol}")
        assert re.search(message, found), found


def test_validate_variables_that_the_cpp_runtime_does_not_restore_are_found(judge: Judge, tmp_path: Path) -> None:
    model = TinyModel()
    model.weights = keras.Variable([0.3, -0.2, 0.1])  # saved twice; Python's loader would not notice
    problems = failed(judge(write_saved_model(tmp_path / "model", model)))
    assert "Could not find variable" in problems["load"]


def _remove(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).unlink()


def _truncate(name: str) -> Callable[[Path], None]:
    return lambda model: os.truncate(model / name, (model / name).stat().st_size // 2)


def _golden_off(model: Path) -> None:
    golden = read_golden(model)
    moved = [float(value) + 1e-5 for value in golden.predictions]  # type: ignore[arg-type]
    write_golden(golden.model_copy(update={"predictions": moved}), model)


def _drop_defaults(signatures: Any) -> None:
    signatures["raw"].defaults.pop("size")


def _drop_method(signatures: Any) -> None:
    signatures["classify"].method_name = "tensorflow/serving/predict"


def _rename_predictions(signatures: Any) -> None:
    outputs = signatures["serving_default"].outputs
    outputs["probability"].CopyFrom(outputs["predictions"])
    del outputs["predictions"]


def _drop_raw(signatures: Any) -> None:
    del signatures["raw"]


DATA = "variables/variables.data-00000-of-00001"


@pytest.mark.parametrize(
    ("damage", "check", "message"),
    [
        (_remove("saved_model.pb"), "files", r"saved_model\.pb is missing"),
        (_remove("variables/variables.index"), "files", r"variables/variables\.index is missing"),
        (_remove(DATA), "files", f"{DATA} is missing"),
        (lambda model: os.truncate(model / DATA, 0), "files", "is empty"),
        (_truncate(DATA), "load", "OUT_OF_RANGE: Read less bytes than requested"),
        (_truncate("variables/variables.index"), "load", "DATA_LOSS: not an sstable"),
        (lambda model: (model / "saved_model.pb").write_bytes(b"\xff" * 99), "signatures", "cannot be parsed"),
        (lambda model: edit_signatures(model, _drop_defaults), "signatures", "'raw' has no default for size"),
        (lambda model: edit_signatures(model, _drop_method), "signatures", "'classify' has the method"),
        (lambda model: edit_signatures(model, _drop_raw), "signatures", "'raw' is missing"),
        pytest.param(
            _remove("assets.extra/golden.json"), "grpc: golden answers", r"golden\.json", marks=pytest.mark.slow
        ),
        pytest.param(
            lambda model: (model / "assets.extra" / "golden.json").write_text("{}"),
            "rest: golden answers",
            "Field required",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda model: edit_signatures(model, _rename_predictions),
            "grpc: golden answers",
            "does not answer 'predictions'",
            marks=pytest.mark.slow,
        ),
        (_golden_off, "rest: golden answers", r"difference 1e-05, on row \d of 8 rows of training"),
        pytest.param(
            _remove("assets.extra/tf_serving_warmup_requests"), "warm-up requests", "is missing", marks=pytest.mark.slow
        ),
        (lambda model: write_warmup(model, b"\xff\xff"), "load", "Failed to parse warmup record"),
        (_truncate("assets.extra/tf_serving_warmup_requests"), "warm-up requests", "the file ends in this record"),
    ],
)
def test_validate_damaged_files_are_named(
    judge: Judge, sound_model: Path, tmp_path: Path, damage: Callable[[Path], Any], check: str, message: str
) -> None:
    model = Path(shutil.copytree(sound_model, tmp_path / "model"))
    damage(model)
    problems = failed(judge(model))
    assert check in problems
    assert re.search(message, problems[check]), problems[check]


def test_validate_schema_of_another_model_is_named(sound_model: Path, tmp_path: Path) -> None:
    examples, schema = write_examples(tmp_path / "examples"), write_schema(tmp_path / "schema")
    path = schema / "schema.pbtxt"
    path.write_text(path.read_text().replace('"rooms" type: INT', '"rooms" type: FLOAT').replace('"town"', '"city"'))
    problems = failed(validate(str(examples), str(schema), str(sound_model), str(tmp_path / "validation")))
    assert problems["grpc: inputs"] == problems["rest: inputs"]
    assert re.search("city .*; town .*; rooms is int64, .*float32", problems["grpc: inputs"])


def test_validate_empty_eval_split_cannot_be_carried_out(tmp_path: Path) -> None:
    examples, schema = write_examples(tmp_path / "examples"), write_schema(tmp_path / "schema")
    (examples / "split=eval" / "part-0.parquet").unlink()
    with pytest.raises(GateError, match="the eval split has no rows"):
        validate(str(examples), str(schema), str(tmp_path), str(tmp_path / "validation"))


def test_rows_without_columns_stay_few_where_there_are_many_columns() -> None:
    """A row for each column would make requests as large as the square of their number."""
    assert columns_left_out(["a", "b"]) == [["a"], ["b"]]
    names = [f"column_{place}" for place in range(1_500)]
    parts = columns_left_out(names)
    assert len(parts) == MOST_LEFT_OUT
    assert [name for part in parts for name in part] == names
