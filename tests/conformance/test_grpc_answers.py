"""What is answered to right requests, over gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol.protos import get_model_metadata_pb2, inference_pb2
from serving.protocol.tensor_protos import array_of
from tests.conformance.examples import EXAMPLES, SCORES, example
from tests.conformance.grpc_calls import Calls
from tests.conformance.model import NAME, VERSIONS


def test_predict_examples_answers_with_the_spec_that_was_used(calls: Calls) -> None:
    answer = calls.predict({"examples": np.array(EXAMPLES, object)})

    assert answer.model_spec == calls.spec(signature="serving_default", version=max(VERSIONS))
    np.testing.assert_allclose(array_of(answer.outputs["predictions"]), SCORES, atol=1e-6)


def test_predict_writes_values_into_the_field_of_their_type(calls: Calls) -> None:
    tensor = calls.predict({"examples": np.array(EXAMPLES, object)}).outputs["predictions"]

    assert not tensor.tensor_content
    assert len(tensor.float_val) == 3


def test_predict_echo_every_type_comes_back(calls: Calls) -> None:
    inputs: dict[str, Any] = {
        "float": np.array([1.5, np.nan, np.inf], np.float32),
        "double": np.array([1e300, -0.0, 3.0]),
        "int32": np.array([-(2**31), 0, 2**31 - 1], np.int32),
        "int64": np.array([-(2**63), 0, 2**63 - 1], np.int64),
        "uint8": np.array([0, 1, 255], np.uint8),
        "bool": np.array([True, False, True]),
        "string": np.array([b"", b"\xff\x00", b"x" * 300], object),
    }
    outputs = calls.predict(inputs, signature="echo").outputs

    assert outputs.keys() == inputs.keys() | {"string_bytes"}
    for name, value in inputs.items():
        back = array_of(outputs[name])
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_predict_any_number_of_rows_is_answered(calls: Calls, count: int) -> None:
    answer = calls.predict({"x": np.ones((count, 2), np.float32)}, signature="matrix")

    assert array_of(answer.outputs["y"]).shape == (count, 1)


def test_predict_inputs_with_defaults_may_be_left_out(calls: Calls) -> None:
    answer = calls.predict({"rooms": np.array([2, 5])}, signature="raw")

    np.testing.assert_allclose(array_of(answer.outputs["predictions"]), 1 / (1 + np.exp([0.4, 1.0])), atol=1e-6)
    assert array_of(calls.predict({}, signature="raw").outputs["predictions"]).tolist() == [0.5]


def test_predict_output_filter_leaves_the_others_out(calls: Calls) -> None:
    names = ("float", "double", "int32", "int64", "uint8", "bool")
    inputs: dict[str, Any] = {name: np.ones(1, "float32" if name == "float" else name) for name in names}
    answer = calls.predict(
        inputs | {"string": np.array([b"a"], object)}, signature="echo", output_filter=["string", "int32"]
    )

    assert answer.outputs.keys() == {"string", "int32"}


@pytest.mark.parametrize(
    ("spec", "version"),
    [({}, 2), ({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1), ({"label": "canary"}, 2)],
)
def test_predict_version_or_label_chooses(calls: Calls, spec: dict[str, Any], version: int) -> None:
    answer = calls.predict({"x": np.zeros(1, np.float32)}, signature="version", **spec)

    assert answer.model_spec.version.value == version
    assert array_of(answer.outputs["version"]).tolist() == [version]


def test_classify_answers_labels_and_scores(calls: Calls) -> None:
    answer = calls.classify(EXAMPLES)

    assert answer.model_spec == calls.spec(signature="classify", version=max(VERSIONS))
    classes = [[each.label for each in one.classes] for one in answer.result.classifications]
    assert classes == [["no", "yes"]] * 3
    scores = [[each.score for each in one.classes] for one in answer.result.classifications]
    np.testing.assert_allclose(scores, np.stack([1 - SCORES, SCORES], 1), atol=1e-6)


def test_classify_a_model_may_answer_one_of_classes_and_scores(calls: Calls) -> None:
    classes = calls.classify(EXAMPLES, signature="classes_only").result.classifications[0].classes
    assert [(each.label, each.score) for each in classes] == [("no", 0.0), ("yes", 0.0)]

    scores = calls.classify(EXAMPLES, signature="scores_only").result.classifications[0].classes
    assert [each.label for each in scores] == ["", ""]
    np.testing.assert_allclose(scores[1].score, SCORES[0], atol=1e-6)


def test_classify_features_of_the_context_are_those_of_each_example(calls: Calls) -> None:
    whole = calls.classify([example(1.0, 2, b"Ulm"), example(1.0, 5, b"Ulm")]).result
    shared = calls.classify([example(rooms=2), example(rooms=5)], context=example(1.0, town=b"Ulm")).result

    assert shared == whole


def test_regress_answers_values(calls: Calls) -> None:
    answer = calls.regress(EXAMPLES)

    assert answer.model_spec == calls.spec(signature="regress", version=max(VERSIONS))
    np.testing.assert_allclose([each.value for each in answer.result.regressions], SCORES, atol=1e-6)


def test_multi_inference_answers_each_task_in_its_order(calls: Calls) -> None:
    request = inference_pb2.MultiInferenceRequest(input=calls.input(EXAMPLES))
    for name in ("regress", "classify"):
        request.tasks.add(model_spec=calls.spec(signature=name), method_name=f"tensorflow/serving/{name}")

    first, second = calls.predictions.MultiInference(request).results

    assert first.regression_result == calls.regress(EXAMPLES).result
    assert second.classification_result == calls.classify(EXAMPLES).result
    assert second.model_spec == calls.spec(signature="classify", version=max(VERSIONS))


def test_metadata_lists_the_signatures(calls: Calls) -> None:
    answer = calls.metadata(version=1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)

    assert answer.model_spec == calls.spec(version=1)
    assert signatures.signature_def.keys() >= {"serving_default", "raw", "classify", "regress", "echo", "matrix"}
    assert signatures.signature_def["classify"].method_name == "tensorflow/serving/classify"
    assert signatures.signature_def["raw"].defaults.keys() == {"size", "rooms", "town"}


def test_status_lists_versions_the_newest_first(calls: Calls) -> None:
    answer = calls.status()

    assert [(each.version, each.state, each.status.error_code) for each in answer.model_version_status] == [
        (2, 30, 0),
        (1, 30, 0),
    ]
    assert [each.version for each in calls.status(version=1).model_version_status] == [1]


def test_predict_model_name_of_the_answer_is_the_requests(calls: Calls) -> None:
    assert calls.predict().model_spec.name == NAME


def test_health_is_serving(calls: Calls, serves_health: bool) -> None:
    """TensorFlow Serving has it with --enable_grpc_healthcheck_service."""
    if not serves_health:
        pytest.skip("another server may be without it")
    stub = health_pb2_grpc.HealthStub(calls.channel)

    assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
