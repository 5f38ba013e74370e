"""Sets a model and a version in rendered objects: only in listed fields, and only where they exist."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import PurePosixPath
from typing import Any, Literal

from serving.manifests.objects import PINNED, Object, containers
from slipway.errors import ConfigError
from slipway.stores import storage

Track = Literal["stable", "canary"]

INSTANCE = "app.kubernetes.io/instance"
VERSION, TRACK = "app.kubernetes.io/version", "slipway/track"
SERVER = "tensorflow-serving"
MODELS_CONFIG = "models.config"

# The placeholder in manifests/: `metadata.name` is `model-serving` there, and `taxi-serving` for the model taxi.
_MODEL = "model"
_LONGEST_SUFFIX = len("-serving-canary")
_BASE_PATH = re.compile(r"(gs://[a-z0-9][a-z0-9._-]*)?(/[A-Za-z0-9._=-]+)+")
_METADATA_PATH = re.compile(r"/v1/models/[^/]+/versions/[^/]+/metadata")

Path = tuple[str, ...]

# The fields with a model's name; `*` is each entry of a list.
_ACCOUNT: Path = ("spec", "template", "spec", "serviceAccountName")
_VOLUME: Path = ("spec", "template", "spec", "volumes", "*", "configMap", "name")
_ENVIRONMENT: Path = ("spec", "template", "spec", "containers", "*", "envFrom", "*", "configMapRef", "name")
_NAME_FIELDS: tuple[Path, ...] = (
    ("metadata", "name"), ("spec", "scaleTargetRef", "name"), _ACCOUNT, _VOLUME, _ENVIRONMENT
)  # fmt: skip
_INSTANCE_FIELDS: tuple[Path, ...] = (
    ("metadata", "labels", INSTANCE),
    ("spec", "selector", INSTANCE),
    ("spec", "selector", "matchLabels", INSTANCE),
    ("spec", "podSelector", "matchLabels", INSTANCE),
    ("spec", "template", "metadata", "labels", INSTANCE),
    ("spec", "template", "spec", "topologySpreadConstraints", "*", "labelSelector", "matchLabels", INSTANCE),
)


def for_version(
    objects: list[Object],
    model: str,
    version: int,
    *,
    track: Track,
    model_base_path: str,
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
        model_base_path: The folder of the model's versions, as the pods see it: a gs:// URI or a mounted path.
        replicas: Number of pods; None leaves the overlay's number, or the autoscaler's.

    Raises:
        ConfigError: an argument is invalid, or the overlay lacks a field that has to be set.
    """
    name = object_name(model)
    if version < 1:
        raise ConfigError(f"version {version} of {model}: a version is a positive integer")
    if not _BASE_PATH.fullmatch(model_base_path) or ".." in model_base_path.split("/"):
        raise ConfigError(
            f"{model_base_path!r}: a model's base path is gs://bucket/path or an absolute path in the pod"
        )
    chosen = deepcopy(_on_track(objects, track))
    deployment = _only(
        chosen, "Deployment", f"{TRACK}={track}, from manifests/{'base' if track == 'stable' else 'components/canary'}"
    )
    pin = _only([each for each in chosen if each["metadata"]["name"] == PINNED], "ConfigMap", f"name {PINNED}")
    _require_mount(deployment, model_base_path)
    config = _models_config(model, version, model_base_path)
    pin["data"] = {MODELS_CONFIG: config}
    # It is immutable: other content, as after the model store has moved, needs another name.
    pin["metadata"]["name"] = f"{_MODEL}-models-v{version}-{hashlib.sha256(config.encode()).hexdigest()[:8]}"
    _set(pin, ("metadata", "labels", VERSION), str(version))
    for path in (("metadata", "labels", VERSION), ("spec", "template", "metadata", "labels", VERSION)):
        _set(deployment, path, str(version))
    _set_reference(deployment, pin["metadata"]["name"])
    _set_probes(deployment, f"/v1/models/{model}/versions/{version}/metadata")
    if replicas is not None:
        _set(deployment, ("spec", "replicas"), replicas)
    for each in chosen:
        _name_for(each, name)
    return chosen


def _models_config(model: str, version: int, model_base_path: str) -> str:
    """A ModelServerConfig in text form that serves one version."""
    return (
        "model_config_list {\n"
        "  config {\n"
        f'    name: "{model}"\n'
        f'    base_path: "{model_base_path}"\n'
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ versions: {version} }} }}\n"
        "  }\n"
        "}\n"
    )


def object_name(model: str) -> str:
    """The beginning of the names of a model's objects, `taxi` in `taxi-serving`; also their `instance` label.

    Raises:
        ConfigError: Kubernetes does not accept the name.
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
    kinds = (("ServiceAccount", _ACCOUNT), ("ConfigMap", _VOLUME), ("ConfigMap", _ENVIRONMENT))
    named = {(kind, holder[key]) for each in own for kind, path in kinds for holder, key in _places(each, path)}
    return [each for each in objects if each in own or (each["kind"], each["metadata"]["name"]) in named]


def _name_for(each: Object, name: str) -> None:
    """Replaces `model` by a model's name in the fields that may contain it."""
    for path in _NAME_FIELDS:
        for holder, key in _places(each, path):
            if holder[key].startswith(f"{_MODEL}-"):
                holder[key] = name + holder[key].removeprefix(_MODEL)
    for path in _INSTANCE_FIELDS:
        for holder, key in _places(each, path):
            holder[key] = name


def _set_reference(deployment: Object, config_map: str) -> None:
    places = [(holder, key) for holder, key in _places(deployment, _VOLUME) if holder[key] == PINNED]
    if len(places) != 1:
        raise _lacks(deployment, f"one volume of the ConfigMap {PINNED}")
    holder, key = places[0]
    holder[key] = config_map


def _set_probes(deployment: Object, path: str) -> None:
    """Sets the path of every probe of a version's metadata; each container that serves REST has one."""
    found = {
        (container["name"], probe): asks
        for container in containers([deployment])
        for probe in ("startupProbe", "readinessProbe")
        if _METADATA_PATH.fullmatch((asks := container.get(probe, {}).get("httpGet", {})).get("path", ""))
    }
    for probe in ("startupProbe", "readinessProbe"):
        if (SERVER, probe) not in found:
            raise _lacks(deployment, f"a {probe} of the container {SERVER} on /v1/models/<model>/versions/<N>/metadata")
    for asks in found.values():
        asks["path"] = path


def _require_mount(deployment: Object, model_base_path: str) -> None:
    """Refuses a local path that is on no volume of the server's."""
    mounts = [
        mount["mountPath"]
        for container in containers([deployment])
        for mount in container.get("volumeMounts", [])
        if container["name"] == SERVER
    ]
    if not storage.is_remote(model_base_path) and not any(
        PurePosixPath(model_base_path).is_relative_to(mount) for mount in mounts
    ):
        raise ConfigError(
            f"{model_base_path} is on no volume of {deployment['metadata']['name']}, which mounts {', '.join(mounts)}; "
            "give the path as the pods see it, or a gs:// URI"
        )


def _only(objects: list[Object], kind: str, what: str) -> Object:
    found = [each for each in objects if each["kind"] == kind]
    if len(found) != 1:
        raise ConfigError(f"the overlay has {len(found)} objects of kind {kind}, and needs one: {what}")
    return found[0]


def _set(each: Object, path: Path, value: Any) -> None:
    places = list(_places(each, path))
    if not places:
        raise _lacks(each, ".".join(path))
    for holder, key in places:
        holder[key] = value


def _lacks(each: Object, what: str) -> ConfigError:
    return ConfigError(f"{each['kind']} {each['metadata']['name']} lacks {what}; only fields that are there are set")


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
