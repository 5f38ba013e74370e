"""Rendered objects are stored under the digest of their bytes."""

import hashlib
from pathlib import Path

import pytest

from serving.manifests import Object, dump_objects, publish_manifests, read_manifests
from slipway import storage
from slipway.errors import ConfigError, StoreError
from tests.storage_server import StorageServer

DIGEST = "sha256:" + 64 * "a"


def deployment(image: str = f"tensorflow/serving@{DIGEST}") -> Object:
    containers = [{"name": "tensorflow-serving", "image": image, "env": [{"name": "PORT", "value": "8500"}]}]
    return {
        "kind": "Deployment",
        "metadata": {"name": "x", "labels": {"version": "1"}},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def test_publish_manifests_is_named_by_content_and_read_back(tmp_path: Path) -> None:
    objects = [{"kind": "Service", "text": "a: 1\nb: 2\n"}, deployment()]
    uri = publish_manifests(objects, str(tmp_path))
    path = Path(uri)
    assert path.parent == tmp_path / "manifests"
    assert path.name == hashlib.sha256(path.read_bytes()).hexdigest() + ".yaml"
    assert read_manifests(uri) == objects
    assert publish_manifests(objects, str(tmp_path)) == uri
    assert publish_manifests(objects[::-1], str(tmp_path)) != uri


def test_publish_manifests_to_a_bucket_is_read_back(storage_server: StorageServer) -> None:
    uri = publish_manifests([deployment()], storage_server.uri("deployments"))
    assert read_manifests(uri) == [deployment()]


@pytest.mark.parametrize("image", [f"tensorflow/serving@sha256:{64 * '0'}", "tensorflow/serving:2.19.1", "slipway"])
def test_publish_manifests_image_without_a_digest_is_refused(tmp_path: Path, image: str) -> None:
    with pytest.raises(
        ConfigError, match=r"container tensorflow-serving: the image .* has no digest yet; set it under"
    ):
        publish_manifests([deployment(image)], str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_read_manifests_changed_file_is_refused(tmp_path: Path) -> None:
    uri = publish_manifests([deployment()], str(tmp_path))
    storage.write_text(uri, storage.read_text(uri).replace("8500", "8600"))
    with pytest.raises(StoreError, match=r"its content has the SHA-256 .*; publish the overlay again"):
        read_manifests(uri)


def test_read_manifests_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        read_manifests(str(tmp_path / "manifests" / "x.yaml"))


def test_dump_objects_order_of_keys_does_not_matter() -> None:
    assert dump_objects([{"a": 1, "b": {"c": 2, "d": 3}}]) == dump_objects([{"b": {"d": 3, "c": 2}, "a": 1}])
