"""URLs as in TensorFlow Serving's `http_rest_api_util_test.cc` and `http_rest_api_handler_test.cc`."""

from __future__ import annotations

import pytest

from serving.server.errors import ServingError
from serving.server.rest_targets import Target, inference_target, is_api, model_target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/v1/models/foo:predict", Target("foo", None, None, "predict")),
        (b"/V1/MODELS/Foo/VERSIONS/50:regress", Target("Foo", 50, None, "regress")),
        (b"/v1/models/foo/labels/some_label:classify", Target("foo", None, "some_label", "classify")),
        (b"/v1/models/a%20b%2Fc/labels/%C3%A4:predict", Target("a b/c", None, "ä", "predict")),
        (b"/v1/models/foo/versions/" + b"0" * 5000 + b"7:predict", Target("foo", 7, None, "predict")),
        (b"/v1/models/foo:PREDICT", None),
        (b"/v1/models/foo/version/50:predict", None),
        (b"/v1/models/foo/versions/HELLO:predict", None),
        (b"/v1/models/foo/versions/50/labels/x:predict", None),
        (b"/v1/models/foo:predict?a=b", None),
        (b"/v1/models/foo", None),
        (b"/v1/models/:predict", None),
    ],
)
def test_inference_target_reads_model_version_and_method(path: bytes, target: Target | None) -> None:
    assert inference_target(path) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/v1/models", Target("", None, None, "")),
        (b"/v1/models/foo", Target("foo", None, None, "")),
        (b"/v1/models/foo/versions/5", Target("foo", 5, None, "")),
        (b"/v1/models/foo/labels/x/metadata", Target("foo", None, "x", "metadata")),
        (b"/v1/models/metadata", Target("metadata", None, None, "")),
        (b"/v1/models/foo/bar", None),
        (b"/v1/models/foo/", None),
        (b"/v1/models/foo:predict", None),
    ],
)
def test_model_target_reads_model_and_version(path: bytes, target: Target | None) -> None:
    assert model_target(path) == target


@pytest.mark.parametrize("version", [b"9223372036854775808", b"9" * 5000])
def test_inference_target_version_beyond_int64_is_refused(version: bytes) -> None:
    with pytest.raises(ServingError, match="Failed to convert version: 9"):
        inference_target(b"/v1/models/foo/versions/" + version + b":predict")


def test_is_api_knows_its_paths() -> None:
    assert is_api(b"/v1/models")
    assert is_api(b"/V1/anything\xff")
    assert not is_api(b"/v1")
    assert not is_api(b"/index")
