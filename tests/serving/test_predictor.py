from pathlib import Path

import numpy as np
import pytest

from serving.predictor import Predictor
from slipway.data.tensors import raw_inputs, serialize_examples
from slipway.errors import GateError
from tests.served_models import read_inputs, rows


@pytest.fixture(scope="module")
def predictor(tiny_model: Path) -> Predictor:
    return Predictor(tiny_model)


def test_call_raw_and_examples_answer_alike(predictor: Predictor) -> None:
    examples = np.array(serialize_examples(rows(), read_inputs()), dtype=object)
    by_example = predictor.call("serving_default", {"examples": examples})["predictions"]
    by_name = predictor.call("raw", raw_inputs(rows(), read_inputs()))["predictions"]
    assert by_name.shape == (40,)
    np.testing.assert_allclose(by_name, by_example, atol=1e-6)


def test_predict_unknown_column_is_left_out(predictor: Predictor) -> None:
    inputs = raw_inputs(rows(), read_inputs())
    np.testing.assert_array_equal(predictor.predict(inputs | {"new": np.zeros(40)}), predictor.predict(inputs))


def test_predict_column_that_is_not_given_is_missing(predictor: Predictor) -> None:
    inputs = raw_inputs(rows(), read_inputs())
    without = {name: value for name, value in inputs.items() if name == "rooms"}
    as_null = raw_inputs(rows().select(["rooms"]), read_inputs())
    np.testing.assert_array_equal(predictor.predict(without), predictor.predict(as_null))


def test_call_unknown_signature_names_those_that_are(predictor: Predictor) -> None:
    with pytest.raises(GateError, match="no signature 'predict'; it has classify, raw, serving_default"):
        predictor.call("predict", {})


def test_call_wrong_inputs_are_named(predictor: Predictor) -> None:
    with pytest.raises(GateError, match="other inputs than those given: examples, instances"):
        predictor.call("serving_default", {"instances": np.array([b""], dtype=object)})


def test_call_malformed_example_is_an_error(predictor: Predictor) -> None:
    with pytest.raises(GateError, match=r"'serving_default' fails: .*[Cc]ould not parse example"):
        predictor.call("serving_default", {"examples": np.array([b"no example"], dtype=object)})


def test_predictor_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="TensorFlow cannot load this SavedModel"):
        Predictor(tmp_path)
