"""Rendered objects are stored under the digest of their bytes."""

import hashlib
from pathlib import Path

import pytest
import yaml

from serving.manifests import Object, publish_manifests, read_manifests
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer
from tests.manifests.rendering import OVERLAYS, rendered

DIGEST = "sha256:" + 64 * "a"


def deployment(image: str = f"tensorflow/serving@{DIGEST}") -> Object:
    containers = [{"name": "tensorflow-serving", "image": image, "env": [{"name": "PORT", "value": "8500"}]}]
    return {
        "kind": "Deployment",
        "metadata": {"name": "x", "labels": {"version": "1"}},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def test_publish_manifests_is_named_by_content_and_read_back(tmp_path: Path) -> None:
    objects = [{"kind": "Service", "metadata": {"name": "x"}, "text": "a: 1\nb: 2\n"}, deployment()]
    reordered = [dict(reversed(each.items())) for each in objects]
    uri = publish_manifests(objects, str(tmp_path))
    path = Path(uri)
    assert path.parent == tmp_path / "manifests"
    assert path.name == hashlib.sha256(path.read_bytes()).hexdigest() + ".yaml"
    assert read_manifests(uri) == objects
    assert publish_manifests(reordered, str(tmp_path)) == uri
    assert publish_manifests(objects[::-1], str(tmp_path)) != uri


@ON_EACH_STORE
def test_publish_manifests_to_a_bucket_is_read_back(storage_server: StorageServer) -> None:
    uri = publish_manifests([deployment()], storage_server.uri("deployments"))
    assert read_manifests(uri) == [deployment()]


@pytest.mark.parametrize("image", ["tensorflow/serving:2.21.0", "slipway"])
def test_publish_manifests_image_by_tag_is_refused(tmp_path: Path, image: str) -> None:
    with pytest.raises(ConfigError, match=r"container tensorflow-serving: the image .* is not named by digest"):
        publish_manifests([deployment(image)], str(tmp_path))
    assert list(tmp_path.iterdir()) == []


UNSET_DIGEST = f"sha256:{64 * '0'}"


@pytest.mark.parametrize(
    ("name", "value", "unset"),
    [
        ("x-serving", f"tensorflow/serving@{UNSET_DIGEST}", UNSET_DIGEST),
        ("x-request-log", "gs://BUCKET/requests", "gs://BUCKET"),
        ("x-serving", "model-serving@PROJECT.iam.gserviceaccount.com", "@PROJECT"),
    ],
)
def test_publish_manifests_value_that_was_never_set_is_refused(
    tmp_path: Path, name: str, value: str, unset: str
) -> None:
    holder = {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}}
    with pytest.raises(
        ConfigError, match=rf"manifests/README\.md says where (.|\n)*ConfigMap {name}: {unset} was never set"
    ):
        publish_manifests([deployment(), holder], str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_publish_manifests_overlay_as_it_comes_is_refused_until_it_is_filled_in(tmp_path: Path, overlay: Path) -> None:
    objects = rendered(overlay)
    with pytest.raises(ConfigError, match="was never set"):
        publish_manifests(objects, str(tmp_path))
    text = yaml.safe_dump_all(objects).replace(UNSET_DIGEST, DIGEST).replace("@PROJECT", "@taxis")
    filled = list(yaml.safe_load_all(text.replace("gs://BUCKET/requests", "gs://taxis/requests")))
    assert read_manifests(publish_manifests(filled, str(tmp_path))) == filled


def test_read_manifests_changed_file_is_refused(tmp_path: Path) -> None:
    uri = publish_manifests([deployment()], str(tmp_path))
    storage.write_text(uri, storage.read_text(uri).replace("8500", "8600"))
    with pytest.raises(StoreError, match=r"its content has the SHA-256 .*; publish the overlay again"):
        read_manifests(uri)


def test_read_manifests_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        read_manifests(str(tmp_path / "manifests" / "x.yaml"))
