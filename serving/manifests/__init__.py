"""The Kubernetes objects that serve a model: rendered from an overlay, stored by content, set for one version.

The objects exist only as YAML in `manifests/`, for a model called `model` and version 1. An overlay is rendered where
kustomize is installed (a laptop, CI) and published under the SHA-256 of its bytes. `for_version` sets a model and a
version in rendered objects; it needs no binary, so that it works inside a step of the pipeline.
"""

from serving.manifests.objects import BY_DIGEST, Object, containers
from serving.manifests.published import publish_manifests, read_manifests, require_filled_in
from serving.manifests.versioned import (
    INSTANCE,
    SERVER,
    TRACK,
    VERSION,
    Track,
    for_version,
    object_name,
)

__all__ = [
    "BY_DIGEST",
    "INSTANCE",
    "SERVER",
    "TRACK",
    "VERSION",
    "Object",
    "Track",
    "containers",
    "for_version",
    "object_name",
    "publish_manifests",
    "read_manifests",
    "require_filled_in",
]
