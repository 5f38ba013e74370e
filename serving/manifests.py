"""The Kubernetes objects that serve a model: rendered from an overlay, stored by content, set for one version.

The objects exist only as YAML in `manifests/`, for a model called `model` and version 1. An overlay is rendered where
kustomize is installed (a laptop, CI) and published under the SHA-256 of its bytes. `for_version` sets a model and a
version in rendered objects; it needs no binary, so that it works inside a step of the pipeline.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import PurePosixPath
from typing import Any, Literal

import yaml

from slipway.errors import ConfigError, StoreError
from slipway.remote.address import shown
from slipway.stores import storage

Object = dict[str, Any]
Track = Literal["stable", "canary"]
Path = tuple[str, ...]

INSTANCE = "app.kubernetes.io/instance"
VERSION, TRACK = "app.kubernetes.io/version", "slipway/track"
SERVER, FETCHER = "tensorflow-serving", "fetch-model"  # the latter an init container, of components/fetch-model
BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")

# Placeholders in manifests/: `metadata.name` is `model-serving` there, and `taxi-serving` for the model taxi; the
# ConfigMap holds the version. The values of the platform are those that a user fills in.
_MODEL, _PINNED, _PROBED = "model", "model-models-v1", "/v1/models/model/versions/1/metadata"
_UNSET = re.compile(r"sha256:0{64}|gs://BUCKET|@PROJECT")

# Where the server finds what was fetched before it.
_FETCHED = "/models"
_LONGEST_SUFFIX = len("-serving-canary")
_BASE_PATH = re.compile(r"(gs://[a-z0-9][a-z0-9._-]*)?(/[A-Za-z0-9._=-]+)+")

# Places in objects; `*` is each entry of a list.
_LABELS: Path = ("metadata", "labels")
_POD: Path = ("spec", "template", "spec")
_VOLUME: Path = (*_POD, "volumes", "*", "configMap", "name")


def containers(objects: list[Object]) -> Iterator[Object]:
    """All containers of all pod templates."""
    for each in objects:
        pod = each.get("spec", {}).get("template", {}).get("spec", {})
        yield from [*pod.get("initContainers", []), *pod.get("containers", [])]


def require_filled_in(objects: list[Object]) -> None:
    """Raises `ConfigError` if an image has no digest, or a value of the platform was never set."""
    missing = [
        f"container {each['name']}: the image {each['image']!r} is not named by digest"
        for each in containers(objects)
        if not BY_DIGEST.fullmatch(each["image"])
    ]
    missing += [
        f"{each['kind']} {each['metadata']['name']}: {unset} was never set"
        for each in objects
        if each["metadata"]["name"] != _PINNED
        for unset in sorted(set(_UNSET.findall(json.dumps(each))))
    ]
    if missing:
        raise ConfigError(
            "the overlay is not filled in; manifests/README.md says where each value belongs, and --image names the "
            "project's own image:\n  " + "\n  ".join(missing)
        )


def namespace_of(objects: list[Object]) -> str:
    """The namespace of an overlay; raises `ConfigError` if there is none, or there are several."""
    names = {str(each["metadata"].get("namespace", "")) for each in objects}
    if len(names) != 1 or "" in names:
        found = ", ".join(sorted(names - {""})) or "none"
        raise ConfigError(f"an overlay is for one namespace, and this one names {found}: set `namespace:` in it")
    return names.pop()


def publish_manifests(objects: list[Object], root_uri: str) -> str:
    """Stores rendered objects as `<root>/manifests/<sha256>.yaml`, and returns that URI; raises as `require_filled_in`.

    Equal objects have equal URIs, so that a run names exactly what it rolls out. A run's own step finds them there: it
    needs no right to write them.
    """
    require_filled_in(objects)
    content = yaml.safe_dump_all(objects).encode()
    uri = storage.join(root_uri, "manifests", f"{hashlib.sha256(content).hexdigest()}.yaml")
    if not storage.exists(uri) or storage.read_bytes(uri) != content:
        storage.write_bytes(uri, content)
    return uri


def read_manifests(uri: str) -> list[Object]:
    """Objects stored by `publish_manifests`; raises `StoreError` if there are none, or not those of the digest."""
    content = storage.read_bytes(uri)
    wanted, found = PurePosixPath(uri.partition("?")[0]).stem, hashlib.sha256(content).hexdigest()
    if wanted != found:
        raise StoreError(f"{shown(uri)}: its content has the SHA-256 {found}; publish the overlay again")
    return list(yaml.load_all(content, Loader=yaml.CSafeLoader))


def fetches(objects: list[Object]) -> bool:
    """Whether pods fetch their version before the server starts, rather than let the server read the store."""
    return any(each["name"] == FETCHER for each in containers(objects))


def require_readable(objects: list[Object], models_path: str) -> None:
    """Raises `ConfigError` for a store that the pods of an overlay cannot read, and one that they need not fetch from.

    `models_path` is as in `for_version`.
    """
    component = "`- ../../components/fetch-model` in the components of the overlay"
    if fetches(objects) and not storage.in_bucket(models_path):
        raise ConfigError(
            f"{models_path}: versions are fetched from gs:// or s3://, not from a volume; leave out {component}, or "
            "set serving.models_path"
        )
    if models_path.startswith("s3://") and not fetches(objects):
        raise ConfigError(f"{models_path}: TensorFlow Serving reads no s3://; list {component}")


def require_room(objects: list[Object], size: int) -> None:
    """Raises `ConfigError` if a version of so many bytes is larger than the volume to which pods fetch it.

    Its pods would be evicted, one after the other.
    """
    from kubernetes.utils import parse_quantity

    for deployment in (each for each in objects if fetches([each])):
        [volume] = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "models"]
        limit = volume.get("emptyDir", {}).get("sizeLimit")
        if limit and size > parse_quantity(limit):
            raise ConfigError(
                f"the version has {size:,} bytes, and the volume `models` of {deployment['metadata']['name']} takes "
                f"{limit}: raise its sizeLimit in the overlay"
            )


def for_version(
    objects: list[Object],
    model: str,
    version: int,
    *,
    track: Track,
    models_path: str,
    replicas: int | None = None,
) -> list[Object]:
    """The objects that serve one version of a model on one track; the input is not changed.

    `stable` returns everything but the canary's own objects. `canary` returns the canary's Deployment and Service,
    and the ConfigMaps and ServiceAccount of its pods: starting one does not change the stable pods.

    Args:
        objects: Result of `render_overlay`.
        model: The module's name; `_` becomes `-` in names of objects.
        version: A version in the model store.
        track: Which Deployment.
        models_path: The model store, as the pods see it: a gs:// or s3:// URI, or a mounted path.
        replicas: Number of pods; None leaves the overlay's number, or the autoscaler's.

    Raises:
        ConfigError: an argument is invalid, the Deployment has another name, or the overlay lacks a field to be set.
    """
    name = object_name(model)
    chosen = deepcopy(_on_track(objects, track))
    source = f"manifests/{'base' if track == 'stable' else 'components/canary'}"
    servers = [each for each in chosen if each["metadata"].get("labels", {}).get(TRACK) == track]
    deployment = _only(servers, "Deployment", f"{TRACK}={track}, from {source}")
    pin = _only([each for each in chosen if each["metadata"]["name"] == _PINNED], "ConfigMap", f"name {_PINNED}")
    require_readable([deployment], models_path)
    base_path = f"{_FETCHED}/{model}"
    if fetches([deployment]):
        arguments = [model, str(version), f"--to={base_path}", f"--store={models_path}"]
        next(each for each in containers([deployment]) if each["name"] == FETCHER)["args"] = arguments
    else:
        base_path = storage.join(models_path.partition("?")[0], model)
    _check_base_path(deployment, base_path)
    config = _models_config(model, version, base_path)
    pin["data"] = {"models.config": config}
    for each, labels in ((pin, _LABELS), (deployment, _LABELS), (deployment, ("spec", "template", *_LABELS))):
        _set(each, (*labels, VERSION), str(version))
    # The ConfigMap is immutable: other content, as after the model store has moved, needs another name.
    pin["metadata"]["name"] = f"{_MODEL}-models-v{version}-{hashlib.sha256(config.encode()).hexdigest()[:8]}"
    _set(deployment, _VOLUME, pin["metadata"]["name"], placeholder=_PINNED)
    for probe in ("startupProbe", "readinessProbe"):  # each container that serves REST has one
        path = (*_POD, "containers", "*", probe, "httpGet", "path")
        _set(deployment, path, f"/v1/models/{model}/versions/{version}/metadata", placeholder=_PROBED)
    for page in (each for each in chosen if each["kind"] == "Deployment" and each is not deployment):
        _set(page, (*_POD, "containers", "*", "env", "*", "value"), model, placeholder=_MODEL)
    if replicas is not None:
        _set(deployment, ("spec", "replicas"), replicas)
    names = [each["metadata"]["name"] for each in chosen]
    renamed = {its: name + its.removeprefix(_MODEL) for its in names if its.startswith(f"{_MODEL}-")}
    made = [_renamed(each, renamed, name) for each in chosen]
    called, wanted = renamed.get(deployment["metadata"]["name"]), deployment_name(model, track)
    if called != wanted:
        raise ConfigError(f"the {track} Deployment is {called}, and has to be {wanted}: keep its name in the overlay")
    return made


def deployment_name(model: str, track: Track) -> str:
    """Name of a model's Deployment."""
    return f"{object_name(model)}-serving{'-canary' if track == 'canary' else ''}"


def object_name(model: str) -> str:
    """The beginning of the names of a model's objects, `taxi` in `taxi-serving`; also their `instance` label.

    Raises `ConfigError` if Kubernetes does not accept the name.
    """
    name = model.replace("_", "-")
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) or len(name) + _LONGEST_SUFFIX > 63:
        raise ConfigError(
            f"{model}: Kubernetes takes names of at most {63 - _LONGEST_SUFFIX} lower-case letters, digits and _ "
            "that begin with a letter and do not end with _; rename the module"
        )
    return name


def _on_track(objects: list[Object], track: Track) -> list[Object]:
    """The objects of a track; see `for_version`."""
    tracks = [each["metadata"].get("labels", {}).get(TRACK) for each in objects]
    if track == "stable":
        return [each for each, its in zip(objects, tracks, strict=True) if its in {track, None}]
    own = [each for each, its in zip(objects, tracks, strict=True) if its == track]
    named = set(_texts(own))
    shared = {"ServiceAccount", "ConfigMap"}
    return [each for each in objects if each in own or (each["kind"] in shared and each["metadata"]["name"] in named)]


def _only(objects: list[Object], kind: str, what: str) -> Object:
    found = [each for each in objects if each["kind"] == kind]
    if len(found) != 1:
        raise ConfigError(f"the overlay has {len(found)} objects of kind {kind}, and needs one: {what}")
    return found[0]


def _check_base_path(deployment: Object, path: str) -> None:
    """Refuses an invalid path, and a local one that is on no volume of the server."""
    if not _BASE_PATH.fullmatch(path) or ".." in path.split("/"):
        raise ConfigError(f"{path!r}: a model's base path is gs://bucket/path or an absolute path in the pod")
    servers = [each for each in containers([deployment]) if each["name"] == SERVER]
    if not servers:
        raise ConfigError(f"{deployment['metadata']['name']} lacks the container {SERVER}; add it to the overlay")
    mounts = [mount["mountPath"] for mount in servers[0].get("volumeMounts", [])]
    if not storage.is_remote(path) and not any(PurePosixPath(path).is_relative_to(mount) for mount in mounts):
        raise ConfigError(
            f"{path} is on no volume of {deployment['metadata']['name']}, which mounts {', '.join(mounts)}; "
            "give the path as the pods see it, or a gs:// URI"
        )


def _models_config(model: str, version: int, base_path: str) -> str:
    """A ModelServerConfig in text form that serves one version."""
    return f"""\
model_config_list {{
  config {{
    name: "{model}"
    base_path: "{base_path}"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: {version} }} }}
  }}
}}
"""


def _set(each: Object, path: Path, value: Any, placeholder: str | None = None) -> None:
    """Sets fields that are there, and hold the placeholder if one is given."""
    places = [(holder, key) for holder, key in _places(each, path) if placeholder in (None, holder[key])]
    if not places:
        field = ".".join(path) + (f": {placeholder}" if placeholder else "")
        raise ConfigError(f"{each['kind']} {each['metadata']['name']} lacks {field}; add it to the overlay")
    for holder, key in places:
        holder[key] = value


def _renamed(node: Any, names: dict[str, str], instance: str) -> Any:
    """A copy with other names of objects, wherever they are named, and another `instance` label."""
    if isinstance(node, dict):
        return {key: instance if key == INSTANCE else _renamed(each, names, instance) for key, each in node.items()}
    if isinstance(node, list):
        return [_renamed(each, names, instance) for each in node]
    return names.get(node, node) if isinstance(node, str) else node


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(each)


def _places(node: Any, path: Path) -> Iterator[tuple[Object, str]]:
    """The dictionaries, and the key in each, at the end of a path; none where the path ends early."""
    key, *rest = path
    if key == "*":
        for entry in node if isinstance(node, list) else []:
            yield from _places(entry, tuple(rest))
    elif isinstance(node, dict) and key in node:
        if rest:
            yield from _places(node[key], tuple(rest))
        else:
            yield node, key
