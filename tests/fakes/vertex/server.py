"""The server: routes, and the state that requests change.

Every body is parsed into the API's own message with unknown fields refused, as the real one does, and the pipeline in
it into a PipelineSpec.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.cloud.aiplatform_v1 import AcceleratorType, PipelineJob, Schedule
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from tests.fakes.loopback_server import Answer, LoopbackServer, Refused, Request

Json = dict[str, Any]
PROJECT, LOCATION = "project-1", "europe-west4"
_PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")
_ENDED = tuple(f"PIPELINE_STATE_{state}" for state in ("SUCCEEDED", "FAILED", "CANCELLED"))
_NOT_SCHEDULED = {"name", "state", "createTime", "nextRunTime"}
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
           409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip


@dataclass
class FakeVertex(LoopbackServer):
    """A project. `plan` holds what becomes of a run: at each look it is in the next of these states."""

    plan: list[str] = field(default_factory=lambda: ["RUNNING", "SUCCEEDED"])
    jobs: dict[str, Json] = field(default_factory=dict)
    schedules: dict[str, Json] = field(default_factory=dict)
    log_queries: list[Json] = field(default_factory=list)
    page_size: int = 100
    _clock: int = 0

    def refuse(self, status: int, message: str) -> Answer:
        error = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
        return Answer(status, json.dumps({"error": error}).encode())

    def handle(self, request: Request) -> Answer:
        if "authorization" in request.headers:
            raise Refused(400, "a credential over plain HTTP")
        for method, pattern, work in self._routes():
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                return Answer(200, json.dumps(work(request, *found.groups())).encode())
        raise Refused(404, f"no route {request.method} {request.path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        jobs, schedules, one = f"/v1/{_PARENT}/pipelineJobs", f"/v1/{_PARENT}/schedules", r"/([^/:]+)"
        return [
            ("POST", jobs, self._create_job),
            ("GET", jobs, self._list_jobs),
            ("GET", f"{jobs}{one}", self._get_job),
            ("POST", f"{jobs}{one}:cancel", self._cancel_job),
            ("POST", schedules, self._create_schedule),
            ("GET", schedules, self._list_schedules),
            ("PATCH", f"{schedules}{one}", self._update_schedule),
            ("DELETE", f"{schedules}{one}", self._delete_schedule),
            ("POST", f"{schedules}{one}:resume", self._resume_schedule),
            ("POST", r"/v2/entries:list", self._logs),
        ]

    def _create_job(self, request: Request) -> Json:
        job_id = request.query.get("pipelineJobId", "")
        if not _JOB_ID.fullmatch(job_id):
            raise Refused(400, f"The pipelineJobId {job_id!r} is invalid")
        job = _read(request.body, PipelineJob)
        _require_job(job)
        if job_id in self.jobs:
            raise Refused(409, f"Resource '{_PARENT}/pipelineJobs/{job_id}' already exists.")
        self.jobs[job_id] = job | {
            "name": f"{_PARENT}/pipelineJobs/{job_id}",
            "state": "PIPELINE_STATE_PENDING",
            "createTime": self._now(),
        }
        return self.jobs[job_id]

    def _list_jobs(self, request: Request) -> Json:
        terms = [
            re.fullmatch(r'labels\.([a-z-]+)="([a-z0-9_-]*)"', term)
            for term in request.query.get("filter", "").split(" AND ")
        ]
        if not all(terms):
            raise Refused(400, f"Invalid filter: {request.query.get('filter')}")
        wanted = {term[1]: term[2] for term in terms if term}
        if set(request.query.get("readMask", "").split(",")) - {"name", "displayName", "state", "labels", "createTime",
                                                                "endTime", "error"}:  # fmt: skip
            raise Refused(400, f"Invalid read_mask: {request.query.get('readMask')}")
        found = [job for job in self.jobs.values() if wanted.items() <= job["labels"].items()]
        if request.query.get("orderBy") == "create_time desc":
            found.reverse()
        brief = [
            {key: value for key, value in job.items() if key not in ("pipelineSpec", "jobDetail")} for job in found
        ]
        return self._page(request, "pipelineJobs", brief)

    def _get_job(self, request: Request, job_id: str) -> Json:
        job = _one(self.jobs, job_id, "pipelineJobs")
        if job["state"] == "PIPELINE_STATE_CANCELLING":
            state = "CANCELLED"
        elif job["state"] == "PIPELINE_STATE_CANCELLED":
            return job
        else:
            state = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
        job["state"] = f"PIPELINE_STATE_{state}"
        if state in ("SUCCEEDED", "FAILED", "CANCELLED"):
            job["endTime"] = "2026-01-02T03:59:00Z"
        if state == "FAILED":
            job["error"] = {"code": 9, "message": "The DAG failed because some tasks failed: [train-model]."}
        job["jobDetail"] = {"taskDetails": self._tasks(state)}
        return job

    def _tasks(self, state: str) -> list[Json]:
        last = state if state in ("SUCCEEDED", "FAILED", "CANCELLED") else "RUNNING"
        tasks = [("1", "", "slipway-training", last), ("2", "1", "exit-handler-1", last),
                 ("3", "2", "resolve-source", "SUCCEEDED"), ("4", "2", "ingest-examples", "SKIPPED"),
                 ("5", "2", "train-model", last)]  # fmt: skip
        found = []
        for number, parent, name, one in tasks:
            task: Json = {
                "taskId": number,
                "parentTaskId": parent or "0",
                "taskName": name,
                "state": one,
                "createTime": f"2026-01-02T03:04:0{number}Z",
                "startTime": f"2026-01-02T03:04:0{number}Z",
            }
            if one != "RUNNING":
                task["endTime"] = f"2026-01-02T03:04:2{number}Z"
            if one == "FAILED":
                task["error"] = {"code": 9, "message": f"The replica workerpool0-0 of {name} exited with 1."}
            if name not in ("slipway-training", "exit-handler-1") and one != "SKIPPED":
                task["executorDetail"] = {"containerDetail": {"mainJob": f"{_PARENT}/customJobs/10{number}"}}
            found.append(task)
        return found

    def _cancel_job(self, request: Request, job_id: str) -> Json:
        job = _one(self.jobs, job_id, "pipelineJobs")
        if job["state"] not in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"):
            raise Refused(400, f"The PipelineJob is in state {job['state']} and cannot be cancelled.")
        job["state"] = "PIPELINE_STATE_CANCELLING"
        return {}

    def _create_schedule(self, request: Request) -> Json:
        schedule = _read(request.body, Schedule)
        self._require_schedule(schedule)
        number = str(1000 + self._clock)
        self.schedules[number] = schedule | {
            "name": f"{_PARENT}/schedules/{number}",
            "state": "ACTIVE",
            "createTime": self._now(),
        }
        return self.schedules[number]

    def _list_schedules(self, request: Request) -> Json:
        return self._page(request, "schedules", list(self.schedules.values()))

    def fire(self, key: str) -> str | None:
        """The time of a schedule has come: the id of its new job; None beyond the limit, since nothing is queued.

        Its display name is the template's, and Vertex makes up its id: `pipeline_job_id` and `schedule_name` in
        google.cloud.aiplatform_v1's CreatePipelineJobRequest and PipelineJob.
        """
        schedule = self.schedules[key]
        mine = [job for job in self.jobs.values() if job.get("scheduleName") == schedule["name"]]
        limit = int(schedule.get("maxConcurrentActiveRunCount", len(mine) + 1))
        if sum(job["state"] not in _ENDED for job in mine) >= limit:
            return None
        job_id = str(4611686018427387904 + len(self.jobs))
        self.jobs[job_id] = schedule["createPipelineJobRequest"]["pipelineJob"] | {
            "name": f"{_PARENT}/pipelineJobs/{job_id}",
            "state": "PIPELINE_STATE_PENDING",
            "createTime": self._now(),
            "scheduleName": schedule["name"],
        }
        return job_id

    def _update_schedule(self, request: Request, key: str) -> Json:
        kept = _one(self.schedules, key, "schedules")
        schedule = _read(request.body, Schedule)
        mask = set(request.query.get("updateMask", "").split(","))
        if not mask or mask - {"cron", "createPipelineJobRequest", "maxConcurrentRunCount",
                               "maxConcurrentActiveRunCount", "displayName"}:  # fmt: skip
            raise Refused(400, f"Invalid update_mask: {sorted(mask)}")
        self._require_schedule(schedule)
        kept.update({name: schedule[name] for name in mask})
        return kept

    def _delete_schedule(self, request: Request, key: str) -> Json:
        _one(self.schedules, key, "schedules")
        del self.schedules[key]
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return {"name": f"{_PARENT}/operations/{key}", "done": True, "response": empty}

    def _resume_schedule(self, request: Request, key: str) -> Json:
        kept = _one(self.schedules, key, "schedules")
        if set(json.loads(request.body or b"{}")) - {"catchUp"} or kept["state"] != "PAUSED":
            raise Refused(400, "The schedule cannot be resumed")
        kept["state"] = "ACTIVE"
        return {}

    def _require_schedule(self, schedule: Json) -> None:
        if set(schedule) & _NOT_SCHEDULED - {"name"}:
            raise Refused(400, "output only fields are set")
        if len(schedule.get("cron", "").split()) != 5:
            raise Refused(400, f"Invalid cron: {schedule.get('cron')!r}")
        if int(schedule.get("maxConcurrentRunCount", 0)) < 1:
            raise Refused(400, "max_concurrent_run_count must be positive")
        if int(schedule.get("maxConcurrentActiveRunCount", 1)) < 1:
            raise Refused(400, "max_concurrent_active_run_count must be positive")
        request = schedule["createPipelineJobRequest"]
        if request.get("parent") != _PARENT or "pipelineJobId" in request:
            raise Refused(400, "create_pipeline_job_request.parent is required, its pipeline_job_id must be empty")
        _require_job(request["pipelineJob"])

    def _logs(self, request: Request) -> Json:
        body = json.loads(request.body)
        if set(body) - {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}:
            raise Refused(400, f"unknown fields in {sorted(body)}")
        self.log_queries.append(body)
        job = re.fullmatch(r'resource\.type="ml_job" AND resource\.labels\.job_id="(\d+)"', body["filter"])
        if not job or body["resourceNames"] != [f"projects/{PROJECT}"]:
            raise Refused(400, "Unparseable filter")
        if "pageToken" not in body:
            return {"entries": [{"textPayload": f"first of {job[1]}\n"}], "nextPageToken": "2"}
        return {"entries": [{"jsonPayload": {"message": f"last of {job[1]}"}}]}

    def _page(self, request: Request, name: str, found: list[Json]) -> Json:
        start = int(request.query.get("pageToken") or 0)
        size = min(int(request.query.get("pageSize") or self.page_size), self.page_size)
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {name: found[start : start + size], **more}

    def _now(self) -> str:
        self._clock += 1
        return f"2026-01-02T03:{self._clock // 60:02d}:{self._clock % 60:02d}Z"


def _read(body: bytes, message: Any) -> Json:
    try:
        parsed = message.from_json(body.decode(), ignore_unknown_fields=False)
    except ParseError as error:
        raise Refused(400, f"Invalid JSON payload received. {error}") from error
    content: Json = MessageToDict(message.pb(parsed))
    return content


def _require_job(job: Json) -> None:
    try:
        spec = ParseDict(job["pipelineSpec"], PipelineSpec(), ignore_unknown_fields=False)
    except ParseError as error:
        raise Refused(400, f"Invalid pipeline spec: {error}") from error
    for label, executor in job["pipelineSpec"]["deploymentSpec"]["executors"].items():
        _require_accelerator(executor.get("container", {}).get("resources", {}).get("accelerator"), label)
    for key, value in job.get("labels", {}).items():
        if not (_LABEL.fullmatch(key) and _LABEL.fullmatch(value)):
            raise Refused(400, f"Invalid label {key}: {value}")
    config = job["runtimeConfig"]
    if not config.get("gcsOutputDirectory", "").startswith("gs://"):
        raise Refused(400, "runtime_config.gcs_output_directory must be a Cloud Storage URI")
    takes, given = set(spec.root.input_definitions.parameters), set(config.get("parameterValues", {}))
    if takes != given:
        raise Refused(400, f"Invalid runtime parameters: {sorted(takes ^ given)}")


def _require_accelerator(accelerator: Json | None, label: str) -> None:
    """One of the API's enum, and a number of them: google.cloud.aiplatform_v1's MachineSpec."""
    if accelerator is None:
        return
    name, count = accelerator.get("resourceType"), accelerator.get("resourceCount", "")
    if (accelerator.get("type", name), str(accelerator.get("count", count))) != (name, count):
        raise Refused(400, f"{label}: accelerator {accelerator} says two things")
    if name not in AcceleratorType.__members__ or not count.isdigit() or int(count) < 1:
        raise Refused(400, f"{label}: accelerator {count} {name!r} is not supported")


def _one(kept: dict[str, Json], key: str, kind: str) -> Json:
    if key not in kept:
        raise Refused(404, f"Resource not found: {_PARENT}/{kind}/{key}")
    return kept[key]
