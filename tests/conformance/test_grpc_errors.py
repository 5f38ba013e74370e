"""Each row of the contract's table of errors, over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol.protos import (
    classification_pb2,
    example_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
    tensor_pb2,
)
from serving.protocol.tensor_protos import tensor_proto
from tests.conformance.grpc_calls import Calls
from tests.conformance.model import NAME

Code = grpc.StatusCode


def refused(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def strings(*values: bytes) -> Any:
    return np.array(values, object)


def test_context_whose_copies_would_fill_the_memory_is_refused(calls: Calls, is_ours: bool) -> None:
    if not is_ours:
        pytest.skip("TensorFlow Serving makes the copies")
    context = example_pb2.Example()
    context.features.feature["town"].bytes_list.value.append(b"x" * 1_000_000)
    code, text = refused(lambda: calls.classify([b""] * 1000, context=context.SerializeToString()))

    assert code is Code.INVALID_ARGUMENT
    assert text.endswith("cannot be copied for 1000 examples: send fewer at a time")


@pytest.mark.parametrize("method", ["predict", "classify", "regress", "metadata"])
def test_unknown_model_is_not_found(calls: Calls, method: str) -> None:
    assert refused(lambda: getattr(calls, method)(model="nobody")) == (
        Code.NOT_FOUND,
        "Servable not found for request: Latest(nobody)",
    )


@pytest.mark.parametrize("method", ["predict", "classify", "regress", "metadata"])
def test_unknown_version_is_not_found(calls: Calls, method: str) -> None:
    assert refused(lambda: getattr(calls, method)(version=5)) == (
        Code.NOT_FOUND,
        f"Servable not found for request: Specific({NAME}, 5)",
    )


def test_status_of_an_unknown_model_or_version_is_not_found(calls: Calls) -> None:
    assert refused(lambda: calls.status(model="nobody")) == (
        Code.NOT_FOUND,
        "Could not find any versions of model nobody",
    )
    assert refused(lambda: calls.status(version=5)) == (Code.NOT_FOUND, f"Could not find version 5 of model {NAME}")


@pytest.mark.parametrize("method", ["predict", "classify", "regress", "metadata"])
@pytest.mark.parametrize("model", [NAME, "nobody"])
def test_unknown_label_is_an_invalid_argument(calls: Calls, method: str, model: str) -> None:
    assert refused(lambda: getattr(calls, method)(model=model, label="x")) == (
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: x",
    )


def test_no_model_name_is_an_invalid_argument(calls: Calls) -> None:
    assert refused(lambda: calls.predict(model="")) == (Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")


def test_no_model_spec_is_an_invalid_argument(calls: Calls) -> None:
    missing = (Code.INVALID_ARGUMENT, "Missing ModelSpec")
    assert refused(lambda: calls.predictions.Predict(predict_pb2.PredictRequest())) == missing
    assert refused(lambda: calls.predictions.Classify(classification_pb2.ClassificationRequest())) == missing
    assert refused(lambda: calls.predictions.Regress(regression_pb2.RegressionRequest())) == missing
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refused(lambda: calls.predictions.GetModelMetadata(metadata)) == missing
    assert refused(lambda: calls.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest())) == missing


def test_missing_signature_of_predict_is_a_failed_precondition(calls: Calls) -> None:
    assert refused(lambda: calls.predict(signature="s")) == (
        Code.FAILED_PRECONDITION,
        'Serving signature key "s" not found.',
    )


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_missing_signature_of_classify_and_regress_is_an_invalid_argument(calls: Calls, method: str) -> None:
    assert refused(lambda: getattr(calls, method)(signature="s")) == (
        Code.INVALID_ARGUMENT,
        "No signature was found with the name: s",
    )


def test_signature_of_another_method_is_an_invalid_argument(calls: Calls) -> None:
    assert refused(lambda: calls.classify(signature="regress")) == (
        Code.INVALID_ARGUMENT,
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/regress",
    )
    assert refused(lambda: calls.regress(signature="serving_default")) == (
        Code.INVALID_ARGUMENT,
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/predict",
    )


def test_missing_input_is_named(calls: Calls) -> None:
    assert refused(lambda: calls.predict({}, signature="matrix")) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )


def test_additional_input_is_named(calls: Calls) -> None:
    inputs = {"x": np.zeros((1, 2), np.float32), "y": np.zeros(1)}
    code, text = refused(lambda: calls.predict(inputs, signature="matrix"))

    assert code is Code.INVALID_ARGUMENT
    assert text.startswith("input size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra: {y}.")


def test_other_input_than_those_of_a_signature_with_defaults_is_named(calls: Calls) -> None:
    code, text = refused(lambda: calls.predict({"size": np.ones(1, np.float32), "nobody": np.ones(1)}, "raw"))

    assert code is Code.INVALID_ARGUMENT
    assert text == ("Inputs contains invalid name. Used request inputs: size, request input: nobody,size")


def test_wrong_dtype_is_named(calls: Calls) -> None:
    code, text = refused(lambda: calls.predict({"examples": np.ones(1, np.float32)}))

    assert (code, text) == (Code.INVALID_ARGUMENT, "Expects arg[0] to be string but float is provided")


def test_wrong_shape_is_the_error_of_the_operation(calls: Calls) -> None:
    code, text = refused(lambda: calls.predict({"x": np.ones((2, 3), np.float32)}, signature="matrix"))

    assert code is Code.INVALID_ARGUMENT
    assert "Matrix size-incompatible: In[0]: [2,3], In[1]: [2,1]" in text


@pytest.mark.parametrize("payload", [b"no example", b"\xff\xfe\x00binary", b"no example" * 500])
def test_malformed_example_is_an_invalid_argument_and_cut(calls: Calls, payload: bytes) -> None:
    code, text = refused(lambda: calls.predict({"examples": strings(payload)}))

    assert code is Code.INVALID_ARGUMENT
    assert text.startswith("Could not parse example input, value: '")
    assert len(text) <= 1024 + len("...TRUNCATED")


def test_no_examples_is_an_invalid_argument(calls: Calls) -> None:
    assert refused(lambda: calls.classify([])) == (Code.INVALID_ARGUMENT, "Input is empty.")
    assert refused(lambda: calls.regress([])) == (Code.INVALID_ARGUMENT, "Input is empty.")


@pytest.mark.parametrize(
    "tensor",
    [
        tensor_pb2.TensorProto(dtype=1, tensor_content=b"123", tensor_shape={"dim": [{"size": 1}, {"size": 2}]}),
        tensor_pb2.TensorProto(dtype=1, float_val=[1.0], tensor_shape={"dim": [{"size": -1}]}),
        tensor_pb2.TensorProto(dtype=1, float_val=[1.0], tensor_shape={"unknown_rank": True}),
    ],
)
def test_damaged_tensor_is_an_invalid_argument(calls: Calls, tensor: Any) -> None:
    request = predict_pb2.PredictRequest(model_spec=calls.spec(signature="matrix"))
    request.inputs["x"].CopyFrom(tensor)

    assert refused(lambda: calls.predictions.Predict(request)) == (
        Code.INVALID_ARGUMENT,
        "tensor parsing error: x",
    )


def test_unknown_output_of_the_filter_is_named(calls: Calls) -> None:
    x = {"x": np.zeros((1, 2), np.float32)}

    assert refused(lambda: calls.predict(x, "matrix", output_filter=["z"])) == (
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    )
    assert refused(lambda: calls.predict(x, "matrix", output_filter=["y", "y"])) == (
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: y",
    )


def test_metadata_needs_a_known_field(calls: Calls) -> None:
    assert refused(lambda: calls.metadata(fields=[])) == (
        Code.INVALID_ARGUMENT,
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    code, text = refused(lambda: calls.metadata(fields=["signature_def", "nothing"], model="nobody"))
    assert code is Code.INVALID_ARGUMENT
    assert text.startswith("Metadata field")


def test_multi_inference_checks_its_tasks(calls: Calls) -> None:
    def infer(*tasks: tuple[str, str, str]) -> Any:
        request = inference_pb2.MultiInferenceRequest(input=calls.input([b""]))
        for model, signature, method in tasks:
            request.tasks.add(
                model_spec={"name": model, "signature_name": signature}, method_name=f"tensorflow/serving/{method}"
            )
        return refused(lambda: calls.predictions.MultiInference(request))

    classify = (NAME, "classify", "classify")
    assert infer() == (Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    assert infer(classify, ("", "regress", "regress"))[1] == "Found ModelSpec with an empty model name."
    assert infer(classify, ("other", "regress", "regress"))[1] == (
        "All ModelSpecs in a MultiInferenceRequest must access the same model name."
    )
    assert infer(classify, classify)[1] == "Duplicate evaluation of signature: classify"
    assert infer((NAME, "s", "classify"))[1] == "Requested signature not found in model graph: s"
    assert infer(("nobody", "classify", "classify")) == (
        Code.NOT_FOUND,
        "Servable not found for request: Latest(nobody)",
    )
    assert infer((NAME, "regress", "classify"))[0] is Code.INVALID_ARGUMENT
    assert infer((NAME, "matrix", "predict")) == (
        Code.UNIMPLEMENTED,
        "Unsupported signature method_name: tensorflow/serving/predict",
    )


@pytest.mark.parametrize("method", ["SessionService/SessionRun", "PredictionService/SessionRun", "Nothing/Nothing"])
def test_other_methods_are_unimplemented(calls: Calls, method: str) -> None:
    """TensorFlow Serving's server has `session_service.proto`, but registers no such service (server.cc)."""
    code, _ = refused(lambda: calls.channel.unary_unary(f"/tensorflow.serving.{method}")(b""))
    assert code is Code.UNIMPLEMENTED


def test_large_messages_are_answered(calls: Calls) -> None:
    """Python's servers refuse more than 4 MiB unless told otherwise; TensorFlow Serving does not."""
    x = np.ones((1_000_000, 2), np.float32)
    request = predict_pb2.PredictRequest(model_spec=calls.spec(signature="matrix"))
    request.inputs["x"].CopyFrom(tensor_proto(x))
    assert request.ByteSize() > 4 << 20

    answer = calls.predictions.Predict(request)

    assert len(answer.outputs["y"].float_val) == len(x)
