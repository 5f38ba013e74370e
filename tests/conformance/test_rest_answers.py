"""What is answered to right requests, over REST."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import pytest

from tests.conformance.examples import EXAMPLES, SCORES
from tests.conformance.model import VERSIONS
from tests.conformance.rest_calls import RestCalls

ROWS = [{"size": 1.0, "rooms": 2, "town": "Ulm"}, {"size": -1.0, "rooms": 5, "town": ""}]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("size", "rooms", "town")}
FEATURES: list[dict[str, Any]] = [{"size": 1.0, "rooms": 2, "town": "Ulm"}, {"size": [-1.0], "rooms": [5]}, {}]


def test_predict_row_format(rest: RestCalls) -> None:
    answer = rest.predict({"signature_name": "raw", "instances": ROWS})

    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.json.keys() == {"predictions"}
    np.testing.assert_allclose(answer.json["predictions"], SCORES[:2], atol=1e-6)


def test_predict_column_format(rest: RestCalls) -> None:
    answer = rest.predict({"signature_name": "raw", "inputs": COLUMNS})

    assert answer.json.keys() == {"outputs"}
    np.testing.assert_allclose(answer.json["outputs"], SCORES[:2], atol=1e-6)


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_predict_default_signature_takes_serialized_examples(rest: RestCalls, form: str) -> None:
    encoded = [{"b64": base64.b64encode(example).decode()} for example in EXAMPLES]
    (values,) = rest.predict({form: encoded}).json.values()

    np.testing.assert_allclose(values, SCORES, atol=1e-6)


def test_predict_echo_every_type_comes_back_in_its_form(rest: RestCalls) -> None:
    text = (
        '"float": [1, 0.5, NaN], "double": [1e300, -0.0, Infinity], "int32": [-2147483648, 0, 2147483647], '
        '"int64": [-9223372036854775808, 0, 9223372036854775807], "uint8": [0, 1, 255], "bool": [true, false, true], '
        '"string": ["", "\\u00e4\\n\\"", {"b64": "aGVsbG8="}]'
    )
    sent = json.loads(f"{{{text}}}")
    columns = rest.predict(f'{{"signature_name": "echo", "inputs": {{{text}}}}}').json["outputs"]

    strings = ["", 'ä\n"', "hello"]
    assert columns.keys() == sent.keys() | {"string_bytes"}
    assert columns["string"] == strings
    assert columns["string_bytes"] == [{"b64": base64.b64encode(each.encode()).decode()} for each in strings]
    for name in sent.keys() - {"string"}:
        assert [type(value) for value in columns[name]] == [
            {"float": float, "double": float}.get(name, type(columns[name][0]))
        ] * 3
        np.testing.assert_array_equal(columns[name], np.array(sent[name], name))

    rows = [{name: values[at] for name, values in sent.items()} for at in range(3)]
    predictions = rest.predict({"signature_name": "echo", "instances": rows}).json["predictions"]
    assert repr([{name: columns[name][at] for name in sorted(columns)} for at in range(3)]) == repr(
        [{name: row[name] for name in sorted(row)} for row in predictions]
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [("2", "2.0"), ("0.2", "0.2"), ("9000000", "9e+06"), ("0.333333343", "0.333333343"), ("NaN", "NaN"),
     ("-Infinity", "-Infinity")],
)  # fmt: skip
def test_predict_floats_have_tensorflow_servings_form(rest: RestCalls, value: str, text: str) -> None:
    body = f'{{"signature_name": "matrix", "instances": [[{value}, 0]]}}'

    assert "".join(rest.predict(body).text.split()) == f'{{"predictions":[[{text}]]}}'


@pytest.mark.parametrize("count", [1, 1000])
def test_predict_any_number_of_rows_is_answered(rest: RestCalls, count: int) -> None:
    answer = rest.predict({"signature_name": "matrix", "instances": [[1, 2]] * count})

    assert answer.json == {"predictions": [[3.0]] * count}


def test_predict_empty_batch_of_columns_is_answered(rest: RestCalls) -> None:
    assert rest.predict({"signature_name": "version", "inputs": []}).json == {"outputs": []}


@pytest.mark.parametrize(
    ("path", "version"),
    [("", 2), ("/versions/1", 1), ("/versions/2", 2), ("/labels/stable", 1), ("/labels/canary", 2), ("/VERSIONS/1", 1)],
)
def test_predict_version_or_label_chooses(rest: RestCalls, path: str, version: int) -> None:
    answer = rest.predict({"signature_name": "version", "instances": [0]}, path)

    assert answer.json == {"predictions": [float(version)]}


def test_predict_url_case_does_not_matter(rest: RestCalls) -> None:
    assert rest.request("POST", "/V1/Models/conformance:predict", '{"instances": [""]}').status == 200


def test_predict_gzip_body_is_read(rest: RestCalls) -> None:
    body = gzip.compress(b'{"instances": [""]}')

    assert rest.request("POST", "/v1/models/conformance:predict", body, **{"Content-Encoding": "gzip"}).status == 200


def test_predict_unknown_columns_are_ignored(rest: RestCalls) -> None:
    assert rest.predict({"signature_name": "raw", "inputs": COLUMNS | {"nobody": [1]}}).status == 200


def test_predict_inputs_with_defaults_may_be_left_out(rest: RestCalls, is_ours: bool) -> None:
    """Over gRPC TensorFlow Serving fills defaults in; its JSON asks for every input."""
    if not is_ours:
        pytest.skip("goes beyond TensorFlow Serving")
    expected = pytest.approx([1 / (1 + np.exp(0.4)), 1 / (1 + np.exp(1.0))], abs=1e-6)

    assert rest.predict({"signature_name": "raw", "inputs": {"rooms": [2, 5]}}).json["outputs"] == expected
    rows = [{"rooms": 2}, {"rooms": 5}]
    assert rest.predict({"signature_name": "raw", "instances": rows}).json["predictions"] == expected


def test_classify_answers_labels_and_scores(rest: RestCalls) -> None:
    answer = rest.post("classify", {"signature_name": "classify", "examples": FEATURES})

    results = answer.json["results"]
    assert [[label for label, _ in one] for one in results] == [["no", "yes"]] * 3
    scores = [[score for _, score in one] for one in results]
    np.testing.assert_allclose(scores, np.stack([1 - SCORES, SCORES], 1), atol=1e-6)


def test_classify_a_model_may_answer_one_of_classes_and_scores(rest: RestCalls) -> None:
    classes = rest.post("classify", {"signature_name": "classes_only", "examples": [{}]}).json
    scores = rest.post("classify", {"signature_name": "scores_only", "examples": [{}]}).json

    assert classes == {"results": [[["no", 0.0], ["yes", 0.0]]]}
    assert scores == {"results": [[["", 0.5], ["", 0.5]]]}


def test_classify_features_of_the_context_are_those_of_each_example(rest: RestCalls) -> None:
    body = {"context": {"size": 1.0, "town": "Ulm"}, "examples": [{"rooms": 2}, {"rooms": 2, "town": {"b64": "VWxt"}}]}
    results = rest.post("classify", {"signature_name": "classify"} | body).json["results"]

    assert results[0] == results[1]
    assert results[0][1][1] == pytest.approx(SCORES[0], abs=1e-6)


def test_regress_answers_values(rest: RestCalls) -> None:
    answer = rest.post("regress", {"signature_name": "regress", "examples": FEATURES})

    np.testing.assert_allclose(answer.json["results"], SCORES, atol=1e-6)


def test_status_lists_versions_as_strings_the_newest_first(rest: RestCalls) -> None:
    def state(version: int) -> dict[str, Any]:
        return {"version": str(version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}

    assert rest.get().json == {"model_version_status": [state(2), state(1)]}
    assert rest.get("/versions/1").json == {"model_version_status": [state(1)]}
    assert rest.get("/labels/stable").json == {"model_version_status": [state(1)]}


@pytest.mark.parametrize(("path", "version"), [("", max(VERSIONS)), ("/versions/1", 1), ("/labels/stable", 1)])
def test_metadata_wraps_the_signatures_twice(rest: RestCalls, path: str, version: int) -> None:
    document = rest.get(f"{path}/metadata").json

    assert document["model_spec"]["name"] == "conformance"
    assert document["model_spec"]["version"] == str(version)
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() >= {"serving_default", "raw", "classify", "regress", "echo", "matrix"}
    assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"
    assert signatures["matrix"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signatures["matrix"]["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "2"]


def test_metrics_have_tensorflow_servings_names(rest: RestCalls) -> None:
    rest.predict({"instances": [""]})
    answer = rest.request("GET", "/monitoring/prometheus/metrics")
    if answer.status == 404:
        pytest.skip("the server was started without --monitoring_config_file")

    assert answer.content_type == "text/plain"
    assert ':tensorflow:serving:request_count{model_name="conformance",status="OK"}' in answer.text
    assert ':tensorflow:serving:request_latency_count{model_name="conformance",API="predict",entrypoint="REST"' in (
        answer.text
    )
    assert ":tensorflow:serving:runtime_latency_count{" in answer.text
