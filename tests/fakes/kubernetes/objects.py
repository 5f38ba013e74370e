"""What the API server stores, and what it refuses: a write goes through here or not at all."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import uuid
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import kubernetes_validate.utils as schemas
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource

from tests.fakes.kubernetes import fields

Object = dict[str, Any]
Key = tuple[str, str, str]  # kind, namespace, name

CONTROLLER = "kube-controller-manager"

# Validation is the slowest that the server does, and most objects come again.
_VALID: set[str] = set()
_SCHEMAS = "kubernetes-json-schema/v1.36.0-local-strict"


class RefusalError(Exception):
    """An answer of the server's other than success: a Status object."""

    def __init__(self, code: int, reason: str, message: str, causes: list[Object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "code": code,
            "details": {"causes": causes or []},
        }

    def body(self) -> bytes:
        return json.dumps(self.status).encode()


class Objects:
    """All objects, under one lock, with one resourceVersion that grows with every write.

    `writes` are those of clients: kind, name and resourceVersion. A controller's come at any time.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.writes: list[tuple[str, str, str]] = []
        self._stored: dict[Key, Object] = {}
        self._owners: dict[Key, fields.Owners] = {}
        self.version = 1000

    def save(self) -> bytes:
        """All that is stored, for `restore` of another server."""
        with self.lock:
            return pickle.dumps((self._stored, self._owners, self.version))

    def restore(self, saved: bytes) -> None:
        with self.lock:
            self._stored, self._owners, self.version = pickle.loads(saved)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        with self.lock:
            if (kind, namespace, name) not in self._stored:
                raise RefusalError(404, "NotFound", f'{kind.lower()}s "{name}" not found')
            return copy.deepcopy(self._stored[kind, namespace, name])

    def has(self, kind: str, namespace: str, name: str) -> bool:
        with self.lock:
            return (kind, namespace, name) in self._stored

    def list(self, kind: str, namespace: str = "", labels: dict[str, str] | None = None) -> list[Object]:
        with self.lock:
            return [
                copy.deepcopy(each)
                for (its_kind, its_namespace, _), each in sorted(self._stored.items())
                if its_kind == kind
                and namespace in ("", its_namespace)
                and (labels or {}).items() <= each["metadata"].get("labels", {}).items()
            ]

    def create(self, new: Object, manager: str) -> Object:
        with self.lock:
            key = _key(new)
            if key in self._stored:
                raise RefusalError(409, "AlreadyExists", f'{key[0].lower()}s "{key[2]}" already exists')
            validate(new, 400)
            return self._write(key, None, new, manager)

    def replace(self, changed: Object, manager: str) -> Object:
        with self.lock:
            key = _key(changed)
            live = self.get(*key)
            sent = changed["metadata"].get("resourceVersion")
            if sent and sent != live["metadata"]["resourceVersion"]:
                what = f'{key[0].lower()}s "{key[2]}": the object has been modified'
                raise RefusalError(
                    409, "Conflict", f"Operation cannot be fulfilled on {what}; please apply your changes"
                )
            validate(changed, 400)
            return self._write(key, live, changed, manager)

    def apply(self, wanted: Object, manager: str, *, force: bool, dry_run: bool = False) -> Object:
        """Server-side apply; a body that does not fit the schema is answered with 500, as a real server does."""
        with self.lock:
            key = _key(wanted)
            validate(wanted, 500)
            live = self._stored.get(key)
            base = live or {part: wanted[part] for part in ("apiVersion", "kind", "metadata")}
            owners = copy.deepcopy(self._owners.get(key, {}))
            try:
                merged = fields.apply(base, owners, wanted, manager, force=force)
            except fields.ConflictError as conflict:
                raise _conflict(conflict, wanted) from conflict
            if dry_run:
                return _with_defaults(merged)
            written = self._write(key, live, merged, None)
            self._owners[key] = owners
            return written

    def set_status(self, kind: str, namespace: str, name: str, status: Object) -> None:
        """The status subresource: a new resourceVersion, but no new generation."""
        with self.lock:
            key = (kind, namespace, name)
            if key in self._stored and self._stored[key].get("status") != status:
                self._stored[key]["status"] = copy.deepcopy(status)
                self._stamp(self._stored[key])

    def annotate(self, each: Object, annotations: dict[str, str]) -> Object:
        """What a controller writes on an object: no new generation."""
        live = self.get(*_key(each))
        live["metadata"]["annotations"] = annotations
        return self.replace(live, CONTROLLER)

    def edit(self, kind: str, namespace: str, name: str, manager: str, **spec: Any) -> None:
        """What `kubectl edit` does: an update by another manager."""
        live = self.get(kind, namespace, name)
        live["spec"] |= spec
        self.replace(live, manager)

    def scale(self, namespace: str, name: str, manager: str, replicas: int) -> None:
        """What `kubectl scale` and autoscalers do: an update of the subresource, owned apart from other updates."""
        self.edit("Deployment", namespace, name, f"{manager}/scale", replicas=replicas)

    def terminate(self, namespace: str, name: str) -> None:
        """The beginning of a pod's end: it stays until its containers have stopped."""
        with self.lock:
            pod = self._stored.get(("Pod", namespace, name))
            if pod and "deletionTimestamp" not in pod["metadata"]:
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                self._stamp(pod)

    def delete(self, kind: str, namespace: str, name: str) -> Object:
        with self.lock:
            gone = self.get(kind, namespace, name)
            del self._stored[kind, namespace, name]
            self._owners.pop((kind, namespace, name), None)
            if kind == "Namespace":
                for each in [key for key in self._stored if key[1] == name]:
                    self.delete(*each)
            self.version += 1
            return gone

    def _write(self, key: Key, live: Object | None, new: Object, manager: str | None) -> Object:
        new = _with_defaults(copy.deepcopy(new))
        metadata = new["metadata"]
        if new["kind"] == "Job":
            _check_job(new)
        if live is None:
            metadata |= {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
            new.pop("status", None)
        else:
            _check_immutable(live, new)
            for name in ("uid", "generation", "creationTimestamp", "resourceVersion"):
                metadata[name] = live["metadata"][name]
            if "status" in live:
                new["status"] = live["status"]
            if new == live:
                return copy.deepcopy(live)
            metadata["generation"] += new.get("spec") != live.get("spec")
        _check_selector(new)
        if manager:
            fields.take_over(live or {}, new, self._owners.setdefault(key, {}), manager)
        self._stored[key] = new
        self._stamp(new)
        if manager != CONTROLLER:
            self.writes.append((key[0], key[2], metadata["resourceVersion"]))
        return copy.deepcopy(new)

    def _stamp(self, each: Object) -> None:
        self.version += 1
        each["metadata"]["resourceVersion"] = str(self.version)


def validate(each: Object, code: int) -> None:
    """Refuses unknown fields and wrong types, as field validation Strict does; of Kubernetes' own kinds."""
    if each["apiVersion"].startswith("monitoring.coreos.com/"):
        return
    spec = {key: value for key, value in each.items() if key != "metadata"}
    fingerprint = json.dumps([spec, {**each["metadata"], "resourceVersion": "", "uid": ""}], sort_keys=True)
    if fingerprint in _VALID:
        return
    for error in _validator(each["apiVersion"], each["kind"]).iter_errors(each):
        where = ".".join(str(part) for part in error.path)
        raise RefusalError(code, "BadRequest", f"failed to create typed patch object: .{where}: {error.message}")
    _VALID.add(fingerprint)


@lru_cache
def _validator(api_version: str, kind: str) -> Draft202012Validator:
    group, _, version = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0]}{'-' if group else ''}{version}"
    schema = schemas.schema_contents(f"{_SCHEMAS}/{name}.json", "1.36")
    registry: Registry[Any] = Resource.from_contents(_definitions()) @ Registry()
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry)


@lru_cache
def _definitions() -> Any:
    return schemas.schema_contents(f"{_SCHEMAS}/_definitions.json", "1.36")


def _key(each: Object) -> Key:
    return each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]


def _conflict(conflict: fields.ConflictError, wanted: Object) -> RefusalError:
    """Several fields stand on several lines (apimachinery/pkg/util/managedfields/internal/conflict.go)."""
    causes: list[Object] = []
    paths: dict[str, list[str]] = {}
    for manager, path in conflict.fields:
        name, _, subresource = manager.partition("/")
        through = f' with subresource "{subresource}"' if subresource else ""
        told = f'"{name}"{through} using {wanted["apiVersion"]}'
        causes.append(
            {"reason": "FieldManagerConflict", "message": f"conflict with {told}", "field": fields.dotted(path)}
        )
        paths.setdefault(told, []).append(fields.dotted(path))
    if len(causes) == 1:
        ((told, (path_text,)),) = paths.items()
        return RefusalError(409, "Conflict", f"Apply failed with 1 conflict: conflict with {told}: {path_text}", causes)
    lines = [
        line for told in sorted(paths) for line in (f"conflicts with {told}:", *(f"- {one}" for one in paths[told]))
    ]
    return RefusalError(409, "Conflict", f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines), causes)


def _with_defaults(each: Object) -> Object:
    """With some of the fields that the server fills in (pkg/apis/apps/v1/defaults.go, pkg/apis/core/v1/defaults.go)."""
    if each["kind"] == "Deployment":
        spec = each["spec"]
        for name, value in {"replicas": 1, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}.items():
            spec.setdefault(name, value)
        pod = spec["template"]["spec"]
        for name, text in {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}.items():
            pod.setdefault(name, text)
        for container in pod["containers"]:
            container.setdefault("terminationMessagePath", "/dev/termination-log")
            container.setdefault("imagePullPolicy", "IfNotPresent")
    return each


def _check_immutable(live: Object, new: Object) -> None:
    name = live["metadata"]["name"]
    if live["kind"] == "Deployment" and live["spec"]["selector"] != new["spec"]["selector"]:
        raise RefusalError(422, "Invalid", f'Deployment.apps "{name}" is invalid: spec.selector: field is immutable')
    if live.get("immutable") and live.get("data") != new.get("data"):
        raise RefusalError(
            422, "Invalid", f'ConfigMap "{name}" is invalid: data: field is immutable when `immutable` is set'
        )


def _check_job(new: Object) -> None:
    """pkg/apis/batch/validation/validation.go."""
    spec, name = new["spec"], new["metadata"]["name"]
    refused = f'Job.batch "{name}" is invalid: '
    if spec["template"]["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
        raise RefusalError(422, "Invalid", f"{refused}spec.template.spec.restartPolicy: Required value")
    if spec.get("completionMode") == "Indexed":
        if "completions" not in spec or spec.get("parallelism", 1) > 100_000:
            raise RefusalError(422, "Invalid", f"{refused}spec.completions: Required value")
        if len(f"{name}-{spec['completions'] - 1}") > 63:
            raise RefusalError(422, "Invalid", f"{refused}metadata.name: will not able to create pod DNS hostname")


def _check_selector(new: Object) -> None:
    if new["kind"] != "Deployment":
        return
    selector, labels = new["spec"]["selector"]["matchLabels"], new["spec"]["template"]["metadata"]["labels"]
    if not selector.items() <= labels.items():
        what = f'Deployment.apps "{new["metadata"]["name"]}" is invalid: spec.template.metadata.labels'
        raise RefusalError(422, "Invalid", f"{what}: `selector` does not match template `labels`")


def owned_by(objects: Objects, kind: str, owner: Object) -> Iterator[Object]:
    """Objects whose owner is this one."""
    for each in objects.list(kind, owner["metadata"].get("namespace", "")):
        if any(one["uid"] == owner["metadata"]["uid"] for one in each["metadata"].get("ownerReferences", [])):
            yield each
