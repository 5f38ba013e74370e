"""Each row of the contract's table of errors, over REST, and bad input of other kinds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.model import NAME
from tests.conformance.rest_calls import RestCalls

METHODS = [
    ("predict", {"instances": [""]}),
    ("classify", {"signature_name": "classify", "examples": [{}]}),
    ("regress", {"signature_name": "regress", "examples": [{}]}),
]


@pytest.mark.parametrize(("method", "body"), METHODS)
def test_unknown_model_version_and_label(rest: RestCalls, method: str, body: Any) -> None:
    assert rest.post(method, body, model="nobody").error == (404, "Servable not found for request: Latest(nobody)")
    assert rest.post(method, body, "/versions/5").error == (
        404,
        f"Servable not found for request: Specific({NAME}, 5)",
    )
    assert rest.post(method, body, "/labels/x").error == (400, "Unrecognized servable version label: x")


def test_metadata_of_what_is_not_served_is_not_found(rest: RestCalls) -> None:
    assert rest.get("/versions/5/metadata").error == (404, f"Servable not found for request: Specific({NAME}, 5)")
    assert rest.get("/labels/x/metadata").error == (400, "Unrecognized servable version label: x")


def test_status_of_an_unknown_model_or_version_is_not_found(rest: RestCalls) -> None:
    assert rest.get(model="nobody").error == (404, "Could not find any versions of model nobody")
    assert rest.get("/versions/5").error == (404, f"Could not find version 5 of model {NAME}")
    assert rest.get("/labels/x").error == (400, "Unrecognized servable version label: x")


def test_missing_signature(rest: RestCalls) -> None:
    assert rest.predict({"signature_name": "s", "instances": [""]}).error == (
        400,
        'Serving signature name: "s" not found in signature def',
    )
    for method in ("classify", "regress"):
        assert rest.post(method, {"signature_name": "s", "examples": [{}]}).error == (
            400,
            "No signature was found with the name: s",
        )


def test_signature_of_another_method(rest: RestCalls) -> None:
    assert rest.post("classify", {"signature_name": "regress", "examples": [{}]}).error == (
        400,
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/regress",
    )


def test_missing_input_is_named(rest: RestCalls) -> None:
    assert rest.predict({"signature_name": "matrix", "inputs": {}}).error == (
        400,
        "Missing named input: x in 'inputs' object.",
    )


def test_wrong_dtype_is_told_with_the_value(rest: RestCalls) -> None:
    status, text = rest.predict({"inputs": [1.5]}).error

    assert status == 400
    assert text.startswith("JSON Value: 1.5 ")
    assert text.endswith(" is not of expected type: string")


def test_wrong_shape_is_the_error_of_the_operation(rest: RestCalls) -> None:
    status, text = rest.predict({"signature_name": "matrix", "inputs": [[1, 2, 3]]}).error

    assert status == 400
    assert "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,1]" in text


@pytest.mark.parametrize("payload", [b"no example", b"no example" * 500])
def test_malformed_example_is_a_bad_request(rest: RestCalls, payload: bytes) -> None:
    status, text = rest.predict({"instances": [payload.decode()]}).error

    assert status == 400
    assert text.startswith("Could not parse example input, value: '")


def test_path_below_v1_that_names_nothing_is_malformed(rest: RestCalls) -> None:
    for method, path in [
        ("GET", "/v1/foo"),
        ("GET", f"/v1/models/{NAME}/foo"),
        ("GET", f"/v1/models/{NAME}:predict"),
        ("POST", f"/v1/models/{NAME}"),
        ("POST", f"/v1/models/{NAME}/metadata"),
        ("POST", f"/v1/models/{NAME}/versions/x:predict"),
        ("POST", f"/v1/models/{NAME}/versions/1/labels/stable:predict"),
        ("POST", f"/v1/models/{NAME}:PREDICT"),
        ("PUT", f"/v1/models/{NAME}:predict"),
        ("DELETE", f"/v1/models/{NAME}"),
    ]:
        assert rest.request(method, path).error == (400, f"Malformed request: {method} {path}")
    assert rest.request("GET", "/v1/models").error == (400, "Missing model name in request.")


def test_version_that_is_no_int64_is_a_bad_request(rest: RestCalls) -> None:
    assert rest.request("POST", f"/v1/models/{NAME}/versions/{2**63}:predict", "{}").status == 400


@pytest.mark.parametrize("path", ["/", "/v2/models", "/index.html", "/metrics"])
def test_other_path_is_a_plain_404(rest: RestCalls, path: str) -> None:
    answer = rest.request("GET", path)

    assert answer.status == 404
    assert answer.json is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
        ("[1]", "JSON Value: ["),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"instances": []}', "JSON Value: {"),
        ('{"instances": 1}', "JSON Value: {"),
        ('{"instances": [""], "inputs": [""]}', "JSON Value: {"),
        ('{"signature_name": 1, "instances": [""]}', "JSON Value: {"),
        (
            '{"signature_name": "matrix", "instances": [[1, 2], [1]]}',
            "Failed to process element: 1 of 'instances' list",
        ),
        (
            '{"signature_name": "matrix", "instances": [[1, 2], {"x": [1, 2]}]}',
            "Expecting value/list but got object at",
        ),
        (
            '{"signature_name": "matrix", "instances": [{"x": [1, 2]}, [1, 2]]}',
            "Expecting object but got list at item 1",
        ),
        ('{"signature_name": "matrix", "instances": [{"z": 1}]}', "Failed to process element: 0 key: z of 'instances'"),
        ('{"signature_name": "raw", "instances": [1]}', "instances is a plain list, but expecting list of objects"),
        ('{"signature_name": "raw", "inputs": [1]}', "inputs is a plain value/list, but expecting an object"),
        ('{"instances": [{"b64": "*"}]}', "Failed to process element: 0 of 'instances' list. Error: "),
        ('{"inputs": {"examples": {"b64": "*"}}}', "Unable to base64 decode"),
        ('{"inputs": {"examples": {"b65": ""}}}', "JSON Value: {"),
    ],
)
def test_predict_body_of_the_wrong_form(rest: RestCalls, body: str, text: str) -> None:
    status, error = rest.predict(body).error

    assert status == 400
    assert error.startswith(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "JSON Value: {"),
        ('{"examples": []}', "JSON Value: {"),
        ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
        ('{"context": [], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"a": null}]}', "Feature: a has element with unexpected JSON type: Null"),
        ('{"examples": [{"a": [1, 1.5]}]}', "Unexpected element type in feature: a expecting type: int64"),
        # The type of a feature is TensorFlow's to check, in its own words.
        ('{"signature_name": "classify", "examples": [{"size": "x"}]}', ""),
    ],
)
def test_classify_body_of_the_wrong_form(rest: RestCalls, body: str, text: str) -> None:
    status, error = rest.post("classify", body).error

    assert status == 400
    assert error.startswith(text)
