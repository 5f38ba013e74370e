"""Stores rendered objects under the SHA-256 of their bytes, so that a run names exactly what it rolls out."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

import yaml

from serving.manifests.objects import BY_DIGEST, PINNED, Object, containers
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage

# Placeholders in manifests/ for values of the platform; `for_version` fills the ConfigMap's pin.
_UNSET = re.compile(r"sha256:0{64}|gs://BUCKET|@PROJECT")


def dump_objects(objects: list[Object]) -> str:
    """YAML, equal for equal objects."""
    return yaml.safe_dump_all(objects, sort_keys=True)


def publish_manifests(objects: list[Object], root_uri: str) -> str:
    """Stores rendered objects as `<root>/manifests/<sha256>.yaml`, and returns that URI.

    Raises:
        ConfigError: the overlay still has placeholders.
    """
    require_filled_in(objects)
    content = dump_objects(objects).encode()
    uri = storage.join(root_uri, "manifests", f"{hashlib.sha256(content).hexdigest()}.yaml")
    storage.write_bytes(uri, content)
    return uri


def require_filled_in(objects: list[Object]) -> None:
    """Refuses an overlay with placeholders.

    Raises:
        ConfigError: an image has no digest, or a value of the platform was never set.
    """
    missing = [
        f"container {each['name']}: the image {each['image']!r} is not named by digest"
        for each in containers(objects)
        if not BY_DIGEST.fullmatch(each["image"])
    ]
    missing += [
        f"{each['kind']} {each['metadata']['name']}: {unset} was never set"
        for each in objects
        if each["metadata"]["name"] != PINNED
        for unset in sorted(set(_UNSET.findall(dump_objects([each]))))
    ]
    if missing:
        raise ConfigError(
            "the overlay is not filled in; manifests/README.md says where each value belongs, and --image names the "
            "project's own image:\n  " + "\n  ".join(missing)
        )


def read_manifests(uri: str) -> list[Object]:
    """Objects stored by `publish_manifests`, after a check of their digest.

    Raises:
        StoreError: there is no such file, or its bytes do not match its name.
    """
    content = storage.read_bytes(uri)
    wanted, found = PurePosixPath(uri.partition("?")[0]).stem, hashlib.sha256(content).hexdigest()
    if wanted != found:
        raise StoreError(f"{uri}: its content has the SHA-256 {found}; publish the overlay again")
    return list(yaml.safe_load_all(content))
