"""The server: routes, credentials, and the state that requests change.

After the backend of kubeflow/pipelines 2.x: a body with an unknown field is refused, a name that is taken answers 409,
a namespace is wanted in a multi-user installation and refused in a single-user one.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.kubeflow.bodies import (
    Json,
    matches,
    read_upload,
    require_arguments,
    require_cron,
    require_documents,
    require_fields,
    require_query,
)
from tests.fakes.kubeflow.workflow import Ending, Workflow
from tests.fakes.loopback_server import Answer, LoopbackServer, Refused, Request

_API = "/apis/v2beta1"
STARTED = "2026-01-02T03:04:{:02d}Z"


@dataclass
class FakeKubeflow(LoopbackServer):
    """An installation. `plan` holds what becomes of a run: at each look it is in the next of these states.

    A run in one of the states `ends` has an end. `endings` are those of its tasks, where they are not the usual ones;
    `pods` says what is left of its pods: they are there, their logs are archived, or nothing.

    With `behind_ui` the endpoint is the UI's server, which passes /apis/v1beta1 and /apis/v2beta1 on, and no other API
    (frontend/server/app.ts).
    """

    version: str = "2.17.0"
    multi_user: bool = False
    tag_name: str = ""  # what it says of its version, where that is something else
    token: str = ""
    cookie: str = ""
    plan: list[str] = field(default_factory=lambda: ["RUNNING", "SUCCEEDED"])
    experiments: dict[str, Json] = field(default_factory=dict)
    pipelines: dict[str, Json] = field(default_factory=dict)
    versions: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    recurring_runs: dict[str, Json] = field(default_factory=dict)
    ends: set[str] = field(default_factory=lambda: {"SUCCEEDED", "FAILED"})
    page_size: int = 100
    endings: dict[str, Ending] = field(default_factory=dict)
    compressed: bool = False
    pod_names: str = "v2"
    pods: Literal["there", "archived", "gone"] = "there"
    behind_ui: bool = False
    _clock: int = 0

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(
            status, json.dumps({"error": message, "code": status, "message": message, "details": []}).encode()
        )

    def handle(self, request: Request) -> Answer:
        self._authenticate(request)
        for method, pattern, work in self._routes():
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                answer = work(request, *found.groups())
                return answer if isinstance(answer, Answer) else Answer(200, json.dumps(answer).encode())
        raise Refused(404, f"no route {request.method} {request.path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        one = r"/([^/:]+)"
        return [
            ("GET", f"{_API}/healthz", self._healthz),
            ("GET", f"{_API}/experiments", self._list_experiments),
            ("POST", f"{_API}/experiments", self._create_experiment),
            ("GET", f"{_API}/experiments{one}", self._get_experiment),
            ("POST", f"{_API}/experiments{one}:archive", self._archive_experiment),
            ("GET", f"{_API}/pipelines", self._list_pipelines),
            ("POST", f"{_API}/pipelines", self._create_pipeline),
            ("POST", f"{_API}/pipelines/upload_version", self._upload_version),
            ("GET", f"{_API}/pipelines{one}/versions", self._list_versions),
            ("GET", f"{_API}/pipelines{one}/versions{one}", self._get_version),
            ("GET", f"{_API}/runs", self._list_runs),
            ("POST", f"{_API}/runs", self._create_run),
            ("GET", f"{_API}/runs{one}", self._get_run),
            ("POST", f"{_API}/runs{one}:terminate", self._terminate_run),
            ("GET", "/k8s/pod/logs", self._ui_log)
            if self.behind_ui
            else ("GET", f"/apis/v1alpha1/runs{one}/nodes{one}/log", self._log),
            ("GET", f"/apis/v1beta1/runs{one}", self._get_run_v1),
            ("GET", f"{_API}/runs{one}/nodes{one}/artifacts/main-logs:read", self._read_artifact),
            ("GET", f"{_API}/recurringruns", self._list_recurring),
            ("POST", f"{_API}/recurringruns", self._create_recurring),
            ("DELETE", f"{_API}/recurringruns{one}", self._delete_recurring),
            ("POST", f"{_API}/recurringruns{one}:(enable|disable)", self._switch_recurring),
        ]

    def _authenticate(self, request: Request) -> None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthenticated: Request header error: there is no user identity header.")
        if self.cookie and request.headers.get("cookie") != self.cookie:
            raise Refused(401, "Unauthenticated: no session")

    def _healthz(self, request: Request) -> Json:
        require_query(request, set())
        # backend/src/apiserver/main.go, newHealthzResponse
        return {
            "commit_sha": "0" * 40,
            "tag_name": self.tag_name or self.version,
            "multi_user": self.multi_user,
            "pipeline_store": "database",
        }

    def _list_experiments(self, request: Request) -> Json:
        require_query(request, {"filter", "namespace", "page_size", "page_token", "sort_by"})
        self._require_namespace(request.query.get("namespace"))
        return self._page(request, "experiments", self.experiments)

    def _create_experiment(self, request: Request) -> Json:
        body = require_fields(request, "V2beta1Experiment", {"display_name"})
        self._require_namespace(body.get("namespace"))
        return self._new(self.experiments, "experiment_id", body | {"storage_state": "AVAILABLE"})

    def _get_experiment(self, request: Request, key: str) -> Json:
        require_query(request, set())
        return self._one("Experiment", self.experiments, key)

    def _archive_experiment(self, request: Request, key: str) -> Json:
        self.archive(key)
        return {}

    def archive(self, experiment: str) -> None:
        """Disables its recurring runs, and says so nowhere in them: resource_manager.go, ArchiveExperiment."""
        self._one("Experiment", self.experiments, experiment)["storage_state"] = "ARCHIVED"
        for run in self.recurring_runs.values():
            if run["experiment_id"] == experiment:
                run["mode"], run["status"] = "DISABLE", "DISABLED"

    def _list_pipelines(self, request: Request) -> Json:
        require_query(request, {"filter", "namespace", "page_size", "page_token", "sort_by"})
        return self._page(request, "pipelines", self.pipelines)

    def _create_pipeline(self, request: Request) -> Json:
        body = require_fields(request, "V2beta1Pipeline", {"display_name"})
        self._require_tags(body.get("tags"))
        self._require_namespace(body.get("namespace"))
        return self._new(self.pipelines, "pipeline_id", body)

    def _upload_version(self, request: Request) -> Json:
        require_query(request, {"name", "display_name", "pipelineid", "description", "tags"})
        pipeline = request.query.get("pipelineid", "")
        if pipeline not in self.pipelines:
            raise Refused(400, "Failed to create a pipeline version")
        since_2_17 = self.release >= (2, 17)
        documents = require_documents(read_upload(request), limits=since_2_17)
        name, tags = request.query["name"], json.loads(request.query.get("tags", "{}"))
        if len(name) > 127:  # backend/src/apiserver/validation/length.go
            raise Refused(400, f"Invalid input error: the name {name} is longer than 127")
        if since_2_17:
            self._require_tags(tags)
        body = {"display_name": name, "pipeline_id": pipeline, "description": request.query.get("description", "")}
        kept = {"pipeline_spec": documents[0], "platform_spec": documents[1:], "tags": tags if since_2_17 else {}}
        return self._new(self.versions, "pipeline_version_id", body | kept)

    def _get_version(self, request: Request, pipeline: str, version: str) -> Json:
        require_query(request, set())
        return _as_answered(self._one("PipelineVersion", self.versions, version))

    @property
    def release(self) -> tuple[int, int]:
        """The version's first two numbers."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)

    def _require_tags(self, tags: Json | None) -> None:
        """Of 2.17 on, at most 20: backend/src/apiserver/model/pipeline_tags.go. Earlier ones do not know the field."""
        if tags is not None and not self.release >= (2, 17):
            raise Refused(400, 'proto: (line 1:1): unknown field "tags"')
        for key, value in (tags or {}).items():
            if not key or "." in key or len(key) > 63 or len(value) > 63 or len(tags or {}) > 20:
                raise Refused(400, f"Invalid input error: tag {key}: {value}")

    def _list_versions(self, request: Request, pipeline: str) -> Json:
        require_query(request, {"filter", "page_size", "page_token", "sort_by"})
        if pipeline not in self.pipelines:
            raise Refused(404, f"Pipeline {pipeline} not found")
        mine = {key: _as_answered(one) for key, one in self.versions.items() if one["pipeline_id"] == pipeline}
        return self._page(request, "pipeline_versions", mine)

    def _list_runs(self, request: Request) -> Json:
        require_query(request, {"filter", "experiment_id", "namespace", "page_size", "page_token", "sort_by"})
        return self._page(request, "runs", self._in_experiment(request, self.runs))

    def _create_run(self, request: Request) -> Json:
        body = require_fields(request, "V2beta1Run", {"display_name", "pipeline_version_reference"})
        self._require_experiment(body)
        require_arguments(body, self._version(body)["pipeline_spec"])
        new = body | {"state": "PENDING", "state_history": [{"state": "PENDING"}]}
        return self._new(self.runs, "run_id", new, unique=False)

    def _get_run(self, request: Request, run_id: str) -> Json:
        require_query(request, {"experiment_id"})
        run = self._one("Run", self.runs, run_id)
        if run["state"] == "CANCELING":
            # A terminated workflow fails; CANCELED is the end of none: `ReportWorkflowResource`,
            # backend/src/apiserver/resource/resource_manager.go.
            self._report(run, "FAILED")
        elif self.plan and run["state_history"][-2:-1] != [{"state": "CANCELING"}]:
            self._report(run, self.plan.pop(0) if len(self.plan) > 1 else self.plan[0])
        run["finished_at"] = STARTED.format(40) if run["state"] in self.ends else "1970-01-01T00:00:00Z"
        run["run_details"] = {"task_details": self._workflow(run).task_details(run_id)}
        return run

    def _report(self, run: Json, state: str) -> None:
        """`UpdateRun`, backend/src/apiserver/storage/run_store.go."""
        run["state"] = state
        if run["state_history"][-1:] != [{"state": state}]:
            run["state_history"].append({"state": state})

    def _workflow(self, run: Json) -> Workflow:
        usual: dict[str, dict[str, Ending]] = {
            "PENDING": {},
            "SUCCEEDED": {"resolve-source": "succeeded", "train-model": "succeeded", "record-run": "succeeded"},
            "FAILED": {"resolve-source": "succeeded", "train-model": "failed", "record-run": "succeeded"},
        }
        state = run["state"]
        return Workflow(
            name=f"slipway-training-{run['run_id'][:5]}",
            endings=self.endings or usual.get(state, {"resolve-source": "succeeded", "train-model": "running"}),
            phase={"SUCCEEDED": "Succeeded", "FAILED": "Failed"}.get(state, "Running"),
            numbered=self.release >= (2, 17),
            compressed=self.compressed,
            pod_names=self.pod_names,
        )

    def _get_run_v1(self, request: Request, run_id: str) -> Json:
        """`toApiRunDetailV1`, backend/src/apiserver/server/api_converter.go; all but the workflow is left out."""
        require_query(request, set())
        return {"pipeline_runtime": {"workflow_manifest": self._workflow(self._one("Run", self.runs, run_id)).manifest}}

    def _terminate_run(self, request: Request, run_id: str) -> Json:
        """`TerminateRun` of run_store.go, and the report of the workflow that is being terminated."""
        run = self._one("Run", self.runs, run_id)
        if run["state"] not in ("PAUSED", "PENDING", "RUNNING", "RUNTIME_STATE_UNSPECIFIED"):
            raise Refused(400, f"Invalid input error: Failed to terminate a run {run_id}. Row not found")
        self._report(run, "CANCELING")
        return {}

    def _log(self, request: Request, run_id: str, pod: str) -> Answer:
        """Status 200 whatever comes: backend/src/apiserver/server/run_log_server.go; `ReadLog`, resource_manager.go."""
        workflow = self._workflow(self.runs[run_id])
        node = workflow.pods.get(pod)
        if self.pods == "there" and node and node["phase"] != "Pending":
            return Answer(200, self._lines(node), "text/plain")
        # GetLogObjectKey, backend/src/apiserver/archive/log.go: from 2.17 on by the node's id, too.
        node = node or workflow.nodes.get(pod)
        if self.release >= (2, 17) and self.pods == "archived" and node and node["type"] == "Pod":
            return Answer(200, self._lines(node), "text/plain")
        why = f'pods "{pod}" not found' if self.pods != "there" or not node else 'container "main" is waiting to start'
        message = (
            f"BadRequestError: Failed to read logs for run {run_id}: InternalServerError: Failed to read logs from "
            f"pod {pod} due to error opening log stream: {why}"
        )
        body = json.dumps({"error_message": message, "error_details": message}, separators=(",", ":"))
        return Answer(200, body.encode(), "text/plain")

    def _ui_log(self, request: Request) -> Answer:
        """`getPodLogsHandler`, frontend/server/handlers/pod-logs.ts."""
        require_query(request, {"podname", "runid", "podnamespace", "createdat"})
        if self.multi_user and not request.query.get("podnamespace"):
            raise Refused(422, "podnamespace argument is required")
        node = self._workflow(self.runs[request.query["runid"]]).pods.get(request.query["podname"])
        if not node or self.pods == "gone":
            raise Refused(500, "Could not get main container logs: Error: Unable to retrieve workflow status")
        return Answer(200, self._lines(node), "text/plain")

    def _read_artifact(self, request: Request, run_id: str, node_id: str) -> Json:
        """`FindObjectStoreArtifactKeyOrEmpty`, backend/src/common/util/workflow.go: by the node's id."""
        node = self._workflow(self._one("Run", self.runs, run_id)).nodes.get(node_id, {})
        if self.pods == "gone" or self.compressed or not node.get("outputs"):
            raise Refused(404, f"ResourceNotFoundError: artifact runs/{run_id}/nodes/{node_id}/main-logs not found")
        return {"data": base64.b64encode(self._lines(node)).decode()}

    @staticmethod
    def _lines(node: Json) -> bytes:
        return f"first line of {node['name'].partition('.')[2]}\nlast line of {node['phase']}\n".encode()

    def _list_recurring(self, request: Request) -> Json:
        require_query(request, {"filter", "experiment_id", "namespace", "page_size", "page_token", "sort_by"})
        if request.query.get("experiment_id"):
            return self._page(request, "recurringRuns", self._in_experiment(request, self.recurring_runs))
        self._require_namespace(request.query.get("namespace"))
        return self._page(request, "recurringRuns", self.recurring_runs)

    def _create_recurring(self, request: Request) -> Json:
        body = require_fields(request, "V2beta1RecurringRun", {"display_name", "trigger", "max_concurrency", "mode"})
        # backend/src/apiserver/server/api_converter.go, toModelJob, comes before all else.
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise Refused(400, "Max concurrency of a recurring run must be at least 1 and at most 10")
        require_cron(body["trigger"].get("cron_schedule", {}).get("cron", ""))
        self._require_experiment(body)
        require_arguments(body, self._version(body)["pipeline_spec"])
        body["status"] = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[body["mode"]]
        return self._new(self.recurring_runs, "recurring_run_id", body, unique=False)

    def _delete_recurring(self, request: Request, key: str) -> Json:
        self._one("RecurringRun", self.recurring_runs, key)
        del self.recurring_runs[key]
        return {}

    def _switch_recurring(self, request: Request, key: str, what: str) -> Json:
        run = self._one("RecurringRun", self.recurring_runs, key)
        run["mode"], run["status"] = what.upper(), what.upper() + "D"
        return {}

    def _new(self, kept: dict[str, Json], key: str, body: Json, *, unique: bool = True) -> Json:
        same = [one for one in kept.values() if one["display_name"] == body["display_name"]]
        if unique and same:
            raise Refused(409, f"Already exist error: the name {body['display_name']} already exists")
        new = str(uuid.uuid4())
        self._clock += 1
        kept[new] = body | {key: new, "created_at": f"2026-01-02T03:{self._clock // 60:02d}:{self._clock % 60:02d}Z"}
        return kept[new]

    def _page(self, request: Request, name: str, kept: dict[str, Json]) -> Json:
        found = [one for one in kept.values() if matches(one, request.query.get("filter", ""))]
        if request.query.get("sort_by", "").endswith(" desc"):
            found.reverse()
        start = int(request.query.get("page_token") or 0)
        size = min(int(request.query.get("page_size") or self.page_size), self.page_size)
        more = {"next_page_token": str(start + size)} if start + size < len(found) else {}
        return {name: found[start : start + size], "total_size": len(found), **more}

    def _in_experiment(self, request: Request, kept: dict[str, Json]) -> dict[str, Json]:
        experiment = request.query.get("experiment_id", "")
        if not experiment:  # backend/src/apiserver/server/run_server.go, listRuns: all of the namespace
            self._require_namespace(request.query.get("namespace"))
            return kept
        self._one("Experiment", self.experiments, experiment)
        return {key: one for key, one in kept.items() if one["experiment_id"] == experiment}

    def _require_namespace(self, namespace: str | None) -> None:
        if self.multi_user and not namespace:
            raise Refused(400, "Invalid input error: Namespace is required in multi-user mode")
        if namespace and not self.multi_user:
            raise Refused(400, "Invalid input error: In single-user mode, the namespace must be empty")

    def _require_experiment(self, body: Json) -> None:
        if body.get("experiment_id") not in self.experiments:
            raise Refused(404, f"Experiment {body.get('experiment_id')} not found")

    def _version(self, body: Json) -> Json:
        wanted = body["pipeline_version_reference"]
        version = self._one("PipelineVersion", self.versions, wanted["pipeline_version_id"])
        if version["pipeline_id"] != wanted["pipeline_id"]:
            raise Refused(400, "Invalid input error: the version is of another pipeline")
        return version

    @staticmethod
    def _one(kind: str, kept: dict[str, Json], key: str) -> Json:
        if key not in kept:
            raise Refused(404, f"ResourceNotFoundError: {kind} {key} not found")
        return kept[key]


def _as_answered(version: Json) -> Json:
    """`YamlStringToPipelineSpecStruct`, backend/src/apiserver/server/api_util.go: two documents are two fields."""
    answer = {key: value for key, value in version.items() if key != "platform_spec"}
    if version["platform_spec"]:
        [limits] = version["platform_spec"]
        answer["pipeline_spec"] = {"pipeline_spec": version["pipeline_spec"], "platform_spec": limits}
    return answer
