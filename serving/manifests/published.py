"""Rendered objects under the SHA-256 of their bytes, so that a run names exactly what it rolls out."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import yaml

from serving.manifests.objects import BY_DIGEST, Object, containers
from slipway import storage
from slipway.errors import ConfigError, StoreError

# What manifests/ has in place of a digest that only the platform can know.
_UNSET_DIGEST = "sha256:" + 64 * "0"


def dump_objects(objects: list[Object]) -> str:
    """YAML, the same text for the same objects."""
    return yaml.safe_dump_all(objects, sort_keys=True)


def publish_manifests(objects: list[Object], root_uri: str) -> str:
    """Stores rendered objects as `<root>/manifests/<sha256>.yaml`, and gives that URI.

    Raises:
        ConfigError: an image is not named by a digest, or its digest was never set.
    """
    for container in containers(objects):
        image = container["image"]
        if not BY_DIGEST.fullmatch(image) or image.endswith(_UNSET_DIGEST):
            raise ConfigError(
                f"container {container['name']}: the image {image!r} has no digest yet; set it under `images:` in "
                "manifests/, where a comment has the command, or give the project's own image with --image"
            )
    content = dump_objects(objects).encode()
    uri = storage.join(root_uri, "manifests", f"{hashlib.sha256(content).hexdigest()}.yaml")
    storage.write_bytes(uri, content)
    return uri


def read_manifests(uri: str) -> list[Object]:
    """Objects that `publish_manifests` stored, once their bytes are known to be those.

    Raises:
        StoreError: there is no such file, or its bytes are not those that its name says.
    """
    content = storage.read_bytes(uri)
    wanted, found = PurePosixPath(uri.partition("?")[0]).stem, hashlib.sha256(content).hexdigest()
    if wanted != found:
        raise StoreError(f"{uri}: its content has the SHA-256 {found}; publish the overlay again")
    return list(yaml.safe_load_all(content))
