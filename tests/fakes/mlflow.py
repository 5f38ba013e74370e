"""What MLflow 3.17.2's server answers to the calls that Slipway makes, as strict as it is.

Sources, of mlflow/mlflow: limits, names and cuts from mlflow/utils/validation.py (`_validate_batch_log_limits`,
`validate_param_and_metric_name`, `path_not_unique`, `_validate_length_limit(truncate=True)`,
`_validate_batch_log_api_req`); errors from mlflow/exceptions.py and `catch_mlflow_exception` of
mlflow/server/handlers.py; versions' sources from `_validate_source_run` there; parameters that cannot change from
`SqlAlchemyStore._log_params`; points that are there already from `SqlAlchemyStore.log_metrics`; files from
mlflow/server/artifact_router.py; hosts from mlflow/server/fastapi_security.py and security_utils.py.
tests/slipway/runs/tracking/test_mlflow.py runs the same tests against real servers.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any
from urllib.parse import unquote

from tests.fakes.loopback_server import Answer, LoopbackServer, Refused, Request

Json = dict[str, Any]
API, ARTIFACTS = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts/"
INVALID_HOST = "Invalid Host header - possible DNS rebinding attack detected"
CODES = {400: "INVALID_PARAMETER_VALUE", 404: "RESOURCE_DOES_NOT_EXIST", 500: "INTERNAL_ERROR"}


class Exists(Refused):
    """Something of that name is there."""


@dataclass
class Mlflow(LoopbackServer):
    """Experiments, runs, files and registered models, in memory."""

    allowed_hosts: tuple[str, ...] = ("127.0.0.1:*",)
    token: str = ""
    artifact_root: str = "mlflow-artifacts:/"
    experiments: dict[str, str] = field(default_factory=dict)  # names to ids
    runs: dict[str, Json] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    models: dict[str, Json] = field(default_factory=dict)

    def refuse(self, status: int, message: str) -> Answer:
        return _answer(status, {"error_code": CODES.get(status, "INTERNAL_ERROR"), "message": message})

    def handle(self, request: Request) -> Answer:
        if not any(fnmatch(request.headers["host"], pattern) for pattern in self.allowed_hosts):
            return Answer(403, INVALID_HOST.encode(), "text/plain")
        if self.token and request.headers.get("authorization") != self.token:
            return Answer(401, b"You are not authenticated. Please see the documentation", "text/plain")
        if request.path.startswith(ARTIFACTS):
            name = unquote(request.path.removeprefix(ARTIFACTS))
            if request.method == "GET":
                return Answer(200, self.files[name], "application/octet-stream")
            self.files[name] = request.body
            return Answer(200, b"")
        name = request.path.removeprefix(API)
        handler = _HANDLERS.get((request.method, name))
        if handler is None:
            return Answer(404, b"<!doctype html> <h1>Not Found</h1>", "text/html")
        if name == "runs/log-batch" and len(request.body) > 1e6:
            raise Refused(400, "Batched logging API requests must be at most 1000000 bytes")
        given = request.query if request.method == "GET" else json.loads(request.body)
        try:
            return _answer(200, handler(self, given))
        except Exists as error:
            return _answer(400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": error.message})

    def experiment_by_name(self, given: Json) -> Json:
        name = given["experiment_name"]
        if name not in self.experiments:
            raise Refused(404, f"Could not find experiment with name '{name}'")
        return {"experiment": {"experiment_id": self.experiments[name], "name": name, "lifecycle_stage": "active"}}

    def create_experiment(self, given: Json) -> Json:
        if given["name"] in self.experiments:
            raise Exists(400, f"Experiment(name={given['name']}) already exists.")
        self.experiments[given["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[given["name"]]}

    def create_run(self, given: Json) -> Json:
        """Not idempotent."""
        if given["experiment_id"] not in self.experiments.values():
            raise Refused(404, f"No Experiment with id={given['experiment_id']} exists")
        run = f"{len(self.runs) + 1:032x}"
        uri = f"{self.artifact_root}{given['experiment_id']}/{run}/artifacts"
        info = {"run_id": run, "experiment_id": given["experiment_id"], "run_name": given["run_name"],
                "status": "RUNNING", "start_time": given["start_time"], "artifact_uri": uri}  # fmt: skip
        self.runs[run] = {"info": info, "points": [], "params": {}, "tags": {}}
        self.runs[run]["tags"] |= _tags(given["tags"])
        return {"run": self._shown(run)}

    def search_runs(self, given: Json) -> Json:
        found = re.fullmatch(r"tags\.`([^`]+)` = '([^']*)'", given["filter"])
        if not found:
            raise Refused(400, f"Invalid clause(s) in filter string: {given['filter']}")
        hits = [
            self._shown(run)
            for run, its in self.runs.items()
            if its["info"]["experiment_id"] in given["experiment_ids"] and its["tags"].get(found[1]) == found[2]
        ]
        return {"runs": hits[: given["max_results"]]} if hits else {}

    def log_batch(self, given: Json) -> Json:
        run = self._run(given)
        metrics, params, tags = (given.get(kind, []) for kind in ("metrics", "params", "tags"))
        for kind, entries, limit in (("metrics", metrics, 1000), ("params", params, 100), ("tags", tags, 100)):
            if len(entries) > limit:
                raise Refused(400, f"A batch logging request can contain at most {limit} {kind}. Got {len(entries)}")
        for entry in (*metrics, *params, *tags):
            _require_name(entry["key"])
        for metric in metrics:
            value = metric["value"]
            if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
                raise Refused(400, f"Invalid value {value} for parameter 'value' supplied.")
            point = (metric["key"], value, metric["timestamp"], metric["step"])
            if point not in run["points"]:
                run["points"].append(point)
        for param in params:
            value = param["value"][:6000]
            if run["params"].setdefault(param["key"], value) != value:
                raise Refused(400, f"Changing param values is not allowed. Params were already logged={param['key']}")
        run["tags"] |= _tags(tags)
        return {}

    def set_tag(self, given: Json) -> Json:
        _require_name(given["key"])
        self._run(given)["tags"][given["key"]] = given["value"]
        return {}

    def delete_tag(self, given: Json) -> Json:
        """mlflow/store/tracking/sqlalchemy_store.py."""
        if self._run(given)["tags"].pop(given["key"], None) is None:
            raise Refused(404, f"No tag with name: {given['key']} in run with id {given['run_id']}")
        return {}

    def update_run(self, given: Json) -> Json:
        if given["status"] not in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"):
            raise Refused(400, f"Invalid value \"{given['status']}\" for parameter 'status' supplied")
        info = self._run(given)["info"]
        info |= {"status": given["status"], "end_time": given["end_time"]}
        return {"run_info": info}

    def create_model(self, given: Json) -> Json:
        if given["name"] in self.models:
            raise Exists(400, f"Registered Model (name={given['name']}) already exists.")
        self.models[given["name"]] = {"versions": [], "aliases": {}}
        return {"registered_model": {"name": given["name"]}}

    def get_model(self, given: Json) -> Json:
        aliases = self._model(given)["aliases"]
        shown = {"aliases": [{"alias": name, "version": version} for name, version in aliases.items()]}
        return {"registered_model": {"name": given["name"], **(shown if aliases else {})}}

    def search_versions(self, given: Json) -> Json:
        found = re.fullmatch(r"name='([^']*)'", given["filter"])
        assert found, given
        versions = self.models.get(found[1], {"versions": []})["versions"][::-1]
        start, size = int(given.get("page_token", 0)), min(int(given["max_results"]), self.page)
        more = {"next_page_token": str(start + size)} if len(versions) > start + size else {}
        hits = [
            {**one, "tags": [{"key": key, "value": value} for key, value in one["tags"].items()]}
            for one in versions[start : start + size]
        ]
        return ({"model_versions": hits} if hits else {}) | more

    page = 2  # so that tests see more than one

    def create_version(self, given: Json) -> Json:
        """Not idempotent."""
        if "://" not in given["source"]:
            raise Refused(400, f"Invalid model version source: '{given['source']}'. To use a local path as a model …")
        versions = self._model(given)["versions"]
        version = {key: given.get(key, "") for key in ("name", "source", "run_id")}
        versions.append(version | {"version": str(len(versions) + 1), "tags": _tags(given["tags"])})
        return {"model_version": {**versions[-1], "tags": given["tags"]}}

    def tag_version(self, given: Json) -> Json:
        self._version(given)["tags"][given["key"]] = given["value"]
        return {}

    def set_alias(self, given: Json) -> Json:
        if given["alias"] == "latest" or re.fullmatch(r"[vV]\d+", given["alias"]):
            raise Refused(400, f"'{given['alias']}' alias name is reserved.")
        self._model(given)["aliases"][given["alias"]] = self._version(given)["version"]
        return {}

    def delete_alias(self, given: Json) -> Json:
        self._model(given)["aliases"].pop(given["alias"], None)
        return {}

    def _run(self, given: Json) -> Json:
        if given["run_id"] not in self.runs:
            raise Refused(404, f"Run with id={given['run_id']} not found")
        return self.runs[given["run_id"]]

    def _model(self, given: Json) -> Json:
        if given["name"] not in self.models:
            raise Refused(404, f"Registered Model with name={given['name']} not found")
        return self.models[given["name"]]

    def _version(self, given: Json) -> Json:
        for version in self._model(given)["versions"]:
            if version["version"] == given["version"]:
                assert isinstance(version, dict)
                return version
        raise Refused(404, f"Model Version (name={given['name']}, version={given['version']}) not found")

    def _shown(self, run: str) -> Json:
        """A run as searches answer it: the last point of each metric."""
        its = self.runs[run]
        last = {key: (step, when, value) for key, value, when, step in sorted(its["points"], key=lambda one: one[3])}
        metrics = [
            {"key": key, "value": value, "timestamp": when, "step": step} for key, (step, when, value) in last.items()
        ]
        data = {"params": _entries(its["params"]), "tags": _entries(its["tags"]), "metrics": metrics}
        return {"info": dict(its["info"]), "data": {kind: entries for kind, entries in data.items() if entries}}


_HANDLERS = {
    ("GET", "experiments/get-by-name"): Mlflow.experiment_by_name,
    ("POST", "experiments/create"): Mlflow.create_experiment,
    ("POST", "runs/create"): Mlflow.create_run,
    ("POST", "runs/search"): Mlflow.search_runs,
    ("POST", "runs/log-batch"): Mlflow.log_batch,
    ("POST", "runs/update"): Mlflow.update_run,
    ("POST", "runs/set-tag"): Mlflow.set_tag,
    ("POST", "runs/delete-tag"): Mlflow.delete_tag,
    ("POST", "registered-models/create"): Mlflow.create_model,
    ("GET", "registered-models/get"): Mlflow.get_model,
    ("GET", "model-versions/search"): Mlflow.search_versions,
    ("POST", "model-versions/create"): Mlflow.create_version,
    ("POST", "model-versions/set-tag"): Mlflow.tag_version,
    ("POST", "registered-models/alias"): Mlflow.set_alias,
    ("DELETE", "registered-models/alias"): Mlflow.delete_alias,
}


def _answer(status: int, body: Json) -> Answer:
    return Answer(status, json.dumps(body).encode())


def _entries(values: dict[str, str]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _tags(entries: list[Json]) -> dict[str, str]:
    return {entry["key"]: entry["value"][:8000] for entry in entries}


def _require_name(name: str) -> None:
    normal = posixpath.normpath(name)
    if not re.match(r"^[/\w.\- :]*$", name) or normal != name or normal == "." or normal.startswith(("..", "/")):
        raise Refused(400, f"Invalid value \"{name}\" for parameter 'key' supplied")
    if len(name) > 250:
        raise Refused(400, f"'{name}' exceeds the maximum length of 250 characters")
