"""URLs as in TensorFlow Serving's `http_rest_api_util_test.cc` and `http_rest_api_handler_test.cc`."""

from __future__ import annotations

import pytest

from serving.protocol.errors import ServingError
from serving.protocol.urls import ModelUrl, is_api_url, model_path, parse_inference_url, parse_model_url


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (b"/v1/models/foo:predict", ModelUrl("foo", None, None, "predict")),
        (b"/V1/MODELS/Foo/VERSIONS/50:regress", ModelUrl("Foo", 50, None, "regress")),
        (b"/v1/models/foo/labels/some_label:classify", ModelUrl("foo", None, "some_label", "classify")),
        (b"/v1/models/a%20b%2Fc/labels/%C3%A4:predict", ModelUrl("a b/c", None, "ä", "predict")),
        (b"/v1/models/foo/versions/" + b"0" * 5000 + b"7:predict", ModelUrl("foo", 7, None, "predict")),
        (b"/v1/models/foo:PREDICT", ModelUrl("foo", None, None, "PREDICT")),
        (b"/v1/models/foo/version/50:predict", None),
        (b"/v1/models/foo/versions/HELLO:predict", None),
        (b"/v1/models/foo/versions/50/labels/x:predict", None),
        (b"/v1/models/foo:predict?a=b", None),
        (b"/v1/models/foo", None),
        (b"/v1/models/:predict", None),
    ],
)
def test_parse_inference_url_reads_model_version_and_method(path: bytes, url: ModelUrl | None) -> None:
    assert parse_inference_url(path) == url


@pytest.mark.parametrize(
    ("path", "url"),
    [
        (b"/v1/models", ModelUrl("", None, None, "")),
        (b"/v1/models/foo", ModelUrl("foo", None, None, "")),
        (b"/v1/models/foo/versions/5", ModelUrl("foo", 5, None, "")),
        (b"/v1/models/foo/labels/x/metadata", ModelUrl("foo", None, "x", "metadata")),
        (b"/v1/models/metadata", ModelUrl("metadata", None, None, "")),
        (b"/v1/models/foo/bar", None),
        (b"/v1/models/foo/", None),
        (b"/v1/models/foo:predict", None),
    ],
)
def test_parse_model_url_reads_model_and_version(path: bytes, url: ModelUrl | None) -> None:
    assert parse_model_url(path) == url


@pytest.mark.parametrize("version", [b"9223372036854775808", b"9" * 5000])
def test_parse_inference_url_version_beyond_int64_is_refused(version: bytes) -> None:
    with pytest.raises(ServingError, match="Failed to convert version: 9"):
        parse_inference_url(b"/v1/models/foo/versions/" + version + b":predict")


def test_is_api_url_knows_its_paths() -> None:
    assert is_api_url(b"/v1/models")
    assert is_api_url(b"/V1/anything\xff")
    assert not is_api_url(b"/v1")
    assert not is_api_url(b"/index")


@pytest.mark.parametrize("named", [("a b/c", None, None), ("m", 7, None), ("m", None, "x/y")])
def test_model_path_is_parsed_back(named: tuple[str, int | None, str | None]) -> None:
    assert parse_model_url(model_path(*named).encode()) == ModelUrl(*named, "")
