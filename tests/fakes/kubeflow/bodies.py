"""What the API accepts in queries and bodies, and nothing else."""

from __future__ import annotations

import email
import email.policy
import json
import re
from typing import Any

import kfp_server_api
import yaml
from google.protobuf.json_format import ParseDict, ParseError
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from tests.fakes.kubeflow.pods import require_executors
from tests.fakes.loopback_server import Refused, Request

Json = dict[str, Any]

_OUTPUT_ONLY = {"run_id", "recurring_run_id", "experiment_id", "pipeline_id", "created_at", "finished_at", "state",
                "error", "run_details", "state_history", "status", "updated_at"}  # fmt: skip


def require_query(request: Request, known: set[str]) -> None:
    """A query has known names only; grpc-gateway refuses others."""
    unknown = set(request.query) - known
    if unknown:
        raise Refused(400, f"unknown query parameter {', '.join(sorted(unknown))}")


def require_fields(request: Request, model: str, wanted: set[str]) -> Json:
    """A JSON body whose fields are those of the API's own model, at every depth that has one."""
    if request.headers.get("content-type") != "application/json":
        raise Refused(415, "the body is no JSON")
    body: Json = json.loads(request.body)
    _check(body, getattr(kfp_server_api, model), "")
    missing = wanted - set(body)
    if missing:
        raise Refused(400, f"Invalid input error: {', '.join(sorted(missing))} is missing")
    written = set(body) & (_OUTPUT_ONLY - {"experiment_id"})
    if written:
        raise Refused(400, f"{', '.join(sorted(written))} is output only")
    if len(body.get("description", "")) > 255:
        raise Refused(500, "Error 1406: Data too long for column 'Description' at row 1")
    return body


def _check(body: Json, model: Any, where: str) -> None:
    known = {name: kind for field, kind in model.openapi_types.items() for name in [model.attribute_map[field]]}
    for name, value in body.items():
        if name not in known:
            raise Refused(400, f'proto: (line 1:1): unknown field "{where}{name}"')
        inner = getattr(kfp_server_api, known[name], None)
        if inner is not None and isinstance(value, dict):
            _check(value, inner, f"{where}{name}.")
        if known[name] == "str" and not isinstance(value, str):
            raise Refused(400, f"proto: invalid value for string field {where}{name}")


_CRON = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))  # robfig/cron v1.2.0, spec.go: day of week is 0 to 6
_CRON_NAMES = re.compile(r"(?i)\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b")


def _refuse_cron(why: str) -> Refused:
    """Of a cron as backend/src/apiserver/server/api_converter.go, toModelJob, says it."""
    what = "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron)"
    return Refused(
        400, f"Failed to create a recurring run due to conversion error: Invalid input error: {what}. Error: {why}"
    )


def require_cron(cron: str) -> None:
    """Six fields, each a list of ranges within its bounds: robfig/cron v1.2.0, parser.go, getRange.

    The server takes five, too, and reads the first as seconds, which is never meant: they are refused here.
    """
    fields = _CRON_NAMES.sub("1", cron).split()
    if len(fields) != len(_CRON):
        raise _refuse_cron(f"Expected 5 to 6 fields, found {len(fields)}: {cron}")
    for (low, high), text in zip(_CRON, fields, strict=True):
        for term in text.split(","):
            found = re.fullmatch(r"(?:[*?]|(\d+)(?:-(\d+))?)(?:/(\d+))?", term)
            ends = [int(end) for end in found.groups()[:2] if end] if found else []
            if not found or found[3] == "0" or ends != sorted(ends) or not all(low <= end <= high for end in ends):
                raise _refuse_cron(f"Failed to parse {term!r} of {cron!r}")


def read_upload(request: Request) -> str:
    """The file `uploadfile` of a multipart form."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == "uploadfile":
            if not str(part.get_filename()).endswith((".yaml", ".json", ".zip", ".tar.gz")):
                raise Refused(400, "Failed to read a pipeline spec file")
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content.decode()
    raise Refused(400, "Failed to read pipeline from file")


def require_documents(text: str, *, limits: bool) -> list[Json]:
    """A compiled pipeline, and what it says of the platform; every field known.

    template/v2_template.go, NewV2SpecTemplate. Installations of before 2.17, without `limits`, know none
    of their fields.
    """
    documents: list[Json] = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    try:
        for document, message in zip(documents, (PipelineSpec(), PlatformSpec()), strict=False):
            ParseDict(document, message, ignore_unknown_fields=False)
    except ParseError as error:
        raise Refused(400, f"Invalid input error: Failed to parse the spec: {error}") from error
    require_executors(documents)
    for document in documents[1:]:
        for label, pod in document["platforms"]["kubernetes"].get("deploymentSpec", {}).get("executors", {}).items():
            _require_pod(pod, label)
        for name in document["platforms"]["kubernetes"].get("pipelineConfig", {}):
            if not limits:
                raise Refused(400, f'Invalid input error: invalid platform spec: proto: unknown field "{name}"')
    for label, executor in documents[0]["deploymentSpec"]["executors"].items():
        _require_accelerator(executor.get("container", {}).get("resources", {}).get("accelerator"), label)
    return documents


def _require_pod(pod: Json, label: str) -> None:
    """What the driver reads for a pod: backend/src/v2/driver/k8s.go, by kfp-kubernetes' message."""
    try:
        ParseDict(pod, KubernetesExecutorConfig(), ignore_unknown_fields=False)
    except ParseError as error:
        raise Refused(400, f"Invalid input error: invalid platform spec: {label}: {error}") from error


def _require_accelerator(accelerator: Json | None, label: str) -> None:
    """A limit of the pod, by `resourceType` before `type`: backend/src/v2/driver/driver.go, initPodSpecPatch.

    Kubernetes refuses a pod whose limit has no name of a resource, with a domain before a slash unless it is its own.
    """
    if accelerator is None:
        return
    name = accelerator.get("resourceType") or accelerator.get("type", "")
    if not re.fullmatch(r"ephemeral-storage|[a-z0-9.-]+\.[a-z]+/[A-Za-z0-9._-]+", name):
        raise Refused(400, f"{label}: {name!r}: must be a standard resource type or fully qualified")
    if not re.fullmatch(r"[1-9]\d*([kMGT]i?)?", str(accelerator.get("resourceCount") or accelerator.get("count", ""))):
        raise Refused(400, f"{label}: quantities must match the regular expression")


def require_arguments(body: Json, spec: Json) -> None:
    """Arguments are the pipeline's, and of its types: template/v2_template.go, validatePipelineJobInputs."""
    takes = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    given = body.get("runtime_config", {}).get("parameters", {})
    kinds: dict[str, Any] = {
        "STRING": str, "NUMBER_INTEGER": (int, float), "STRUCT": dict, "LIST": list, "BOOLEAN": bool,
    }  # fmt: skip
    for name, wants in takes.items():
        if name not in given:
            if not wants.get("isOptional") and wants.get("defaultValue") is None:
                raise Refused(
                    400,
                    f"Invalid input error: parameter {name} is not optional, yet has neither default value nor user "
                    "provided value",
                )
            continue
        kind = kinds.get(wants["parameterType"])
        if kind and not isinstance(given[name], kind):
            raise Refused(400, f"Invalid input error: parameter {name} is no {wants['parameterType']}")
    unknown = set(given) - set(takes)
    if unknown:
        raise Refused(400, f"Invalid input error: unknown parameter {', '.join(sorted(unknown))}")


def matches(one: Json, filter_text: str) -> bool:
    """The one predicate that is used: equality of a field."""
    if not filter_text:
        return True
    for predicate in json.loads(filter_text)["predicates"]:
        if set(predicate) != {"operation", "key", "string_value"} or predicate["operation"] != "EQUALS":
            raise Refused(400, f"Invalid input error: Failed to parse filter {filter_text}")
        if one.get(predicate["key"]) != predicate["string_value"]:
            return False
    return True
