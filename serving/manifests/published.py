"""Rendered objects under the SHA-256 of their bytes, so that a run names exactly what it rolls out."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

import yaml

from serving.manifests.objects import BY_DIGEST, PINNED, Object, containers
from slipway.errors import ConfigError, StoreError
from slipway.stores import storage

# What manifests/ has in the places that only the platform can fill; a ConfigMap's pin is filled by each version.
_UNSET = re.compile(r"sha256:0{64}|gs://BUCKET|@PROJECT")


def dump_objects(objects: list[Object]) -> str:
    """YAML, the same text for the same objects."""
    return yaml.safe_dump_all(objects, sort_keys=True)


def publish_manifests(objects: list[Object], root_uri: str) -> str:
    """Stores rendered objects as `<root>/manifests/<sha256>.yaml`, and gives that URI.

    Raises:
        ConfigError: as `require_filled_in` says.
    """
    require_filled_in(objects)
    content = dump_objects(objects).encode()
    uri = storage.join(root_uri, "manifests", f"{hashlib.sha256(content).hexdigest()}.yaml")
    storage.write_bytes(uri, content)
    return uri


def require_filled_in(objects: list[Object]) -> None:
    """Refuses an overlay that still has placeholders.

    Raises:
        ConfigError: an image is not named by a digest, or a value that the platform has to fill in was never set.
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
    """Objects that `publish_manifests` stored, once their bytes are known to be those.

    Raises:
        StoreError: there is no such file, or its bytes are not those that its name says.
    """
    content = storage.read_bytes(uri)
    wanted, found = PurePosixPath(uri.partition("?")[0]).stem, hashlib.sha256(content).hexdigest()
    if wanted != found:
        raise StoreError(f"{uri}: its content has the SHA-256 {found}; publish the overlay again")
    return list(yaml.safe_load_all(content))
