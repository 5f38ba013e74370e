"""Runs and schedules on Vertex AI Pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from google.cloud.aiplatform_v1 import (
    CreatePipelineJobRequest,
    EncryptionSpec,
    PipelineJob,
    PscInterfaceConfig,
    Schedule,
)
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict

from delivery.package import step_name
from delivery.targets.base import (
    Recurring,
    RemoteRun,
    RemoteSchedule,
    Schedules,
    Submission,
    Target,
    context_of,
    label_value,
    owner,
    seconds,
)
from delivery.targets.connection import VertexConfig
from delivery.targets.vertex_api import VertexApi
from slipway.platforms.starter import PreparedRun
from slipway.runs.naming import JOB, vertex_id
from slipway.runs.record import RunContext, Step
from slipway.runs.states import VERTEX_RUNS, VERTEX_STEPS
from slipway.targets import RemoteTarget

# A list without the specs: each is half a megabyte.
_BRIEF = ("name", "display_name", "state", "labels", "create_time", "end_time", "error")
_PAGE = 100
# How many runs of a schedule are being started, which must be given, and how many are under way.
_LIMITS = ("max_concurrent_run_count", "max_concurrent_active_run_count")


class VertexTarget(Target):
    """Pipeline jobs of a project in one location. Slipway chooses their ids, which are the names of the runs."""

    name: RemoteTarget = "vertex"

    def __init__(self, config: VertexConfig) -> None:
        self.config = config
        self._api = VertexApi(config)
        self._place = config.parent
        self.schedules = VertexSchedules(self._api)

    def submit(self, submission: Submission) -> RemoteRun:
        job = self._api.call(
            f"start the run {submission.name}",
            self._api.jobs.create_pipeline_job,
            parent=self.config.parent,
            pipeline_job=_job(self.config, submission, {}),
            pipeline_job_id=vertex_id(submission.name),
            already=lambda: self._job(vertex_id(submission.name)),
        )
        return self._run(job)

    def prepare(self, submission: Submission, by: str) -> PreparedRun:
        return PreparedRun(
            target=self.name,
            url=self.config.url,
            path=f"/v1/{self.config.parent}/pipelineJobs",
            page=self.page(JOB),
            account=self.config.account_of(by),
            body=MessageToDict(PipelineJob.pb(_job(self.config, submission, {}))),
        )

    def list(self, limit: int) -> list[RemoteRun]:
        return [self._run(job) for job in self._newest(limit, owner(self.config.environment))]

    def page(self, run_id: str) -> str:
        return self.config.page(f"runs/{run_id}")

    def _find(self, run: str) -> Any:
        """The job of that id; else, since all runs of a schedule have its name, the newest of them."""
        if (job := self._job(vertex_id(run))) is not None:
            return job
        scheduled = self._newest(1, owner(self.config.environment) | {"schedule": label_value(run)})
        return self._job(scheduled[0].name.rpartition("/")[2]) if scheduled else None

    def _job(self, job_id: str) -> Any:
        name = f"{self.config.parent}/pipelineJobs/{job_id}"
        return self._api.call(f"find the run {job_id}", self._api.jobs.get_pipeline_job, name=name, missing_ok=True)

    def _newest(self, limit: int, labels: dict[str, str]) -> Sequence[Any]:
        """Jobs with these labels, newest first, without their steps."""
        request = {
            "parent": self.config.parent,
            "filter": " AND ".join(f'labels.{key}="{value}"' for key, value in labels.items()),
            "order_by": "create_time desc",
            "page_size": min(limit, 64),
            "read_mask": FieldMask(paths=_BRIEF),
        }

        def newest(**arguments: Any) -> Sequence[Any]:
            return [*islice(self._api.jobs.list_pipeline_jobs(**arguments), limit)]

        found: Sequence[Any] = self._api.call("list the runs", newest, request=request)
        return found

    def _cancel(self, job: Any) -> None:
        if _word(job.state) != "PIPELINE_STATE_CANCELLING":
            self._api.call(f"cancel {job.display_name}", self._api.jobs.cancel_pipeline_job, name=job.name)

    def _run(self, job: Any) -> RemoteRun:
        job_id = job.name.rpartition("/")[2]
        return RemoteRun(
            id=job_id,
            name=job_id,
            state=VERTEX_RUNS.get(_word(job.state), "unknown"),
            url=self.page(job_id),
            created=seconds(job.create_time) or 0.0,
            finished=seconds(job.end_time),
            error=job.error.message,
            title=job.display_name,
            labels=dict(job.labels),
        )

    def _context(self, job: Any) -> RunContext | None:
        content = PipelineJob.to_dict(job)
        given = content.get("runtime_config", {}).get("parameter_values", {})
        return context_of(content.get("pipeline_spec", {}), given, job.name, job.create_time)

    def _steps(self, job: Any) -> Iterator[tuple[Step, Any]]:
        tasks = job.job_detail.task_details
        groups = {task.parent_task_id for task in tasks}
        for task in tasks:
            if task.task_id in groups:
                continue
            word = _word(task.state)
            state = VERTEX_STEPS.get(word, "unknown")
            started, ended = seconds(task.start_time), seconds(task.end_time)
            took = round(ended - started, 3) if started and ended and state not in ("pending", "running") else None
            step = Step(
                name=step_name(task.task_name),
                state=state,
                started=started,
                seconds=took,
                cached=word == "SKIPPED",
                error=task.error.message or None,
            )
            yield step, task

    def _log(self, job: Any, task: Any) -> Iterator[str]:
        detail = task.executor_detail.container_detail
        for name in (*detail.failed_main_jobs, detail.main_job):
            if name:
                yield from self._api.log_lines(name)


class VertexSchedules(Schedules):
    """The labels of a schedule's runs hold its environment and digest. Vertex cannot create a paused schedule."""

    def __init__(self, api: VertexApi) -> None:
        self._api = api

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        content = self._content(schedule)
        content.name = old.id
        self._api.call(
            f"change the schedule {schedule.name}",
            self._api.schedules.update_schedule,
            schedule=content,
            update_mask=FieldMask(paths=["cron", "create_pipeline_job_request", *_LIMITS]),
        )

    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        request = {"name": old.id, "catch_up": schedule.catch_up}
        self._api.call(f"resume the schedule {schedule.name}", self._api.schedules.resume_schedule, request=request)

    def delete(self, old: RemoteSchedule) -> None:
        request = self._api.schedules.delete_schedule
        self._api.call(f"delete the schedule {old.name}", request, name=old.id, missing_ok=True)

    def _all(self) -> Iterator[RemoteSchedule]:
        def every(**arguments: Any) -> Any:
            return [*self._api.schedules.list_schedules(**arguments)]

        request = {"parent": self._api.config.parent, "page_size": _PAGE}
        ours = owner(self._api.config.environment)
        for found in self._api.call("list the schedules", every, request=request):
            labels = found.create_pipeline_job_request.pipeline_job.labels
            if ours.items() <= dict(labels).items() and found.state.name in ("ACTIVE", "PAUSED"):
                yield RemoteSchedule(
                    id=found.name,
                    name=found.display_name,
                    digest=labels.get("schedule-digest", ""),
                    cron=found.cron,
                    enabled=found.state.name == "ACTIVE",
                    created=found.create_time.timestamp(),
                    url=self._api.config.page(f"schedules/{found.name.rpartition('/')[2]}"),
                )

    def _create(self, schedule: Recurring, already: Callable[[], Any]) -> None:
        self._api.call(
            f"make the schedule {schedule.name}",
            self._api.schedules.create_schedule,
            parent=self._api.config.parent,
            schedule=self._content(schedule),
            already=already,
        )

    def _content(self, schedule: Recurring) -> Any:
        labels = {"schedule": schedule.name, "schedule-digest": schedule.digest}
        job = _job(self._api.config, schedule.submission, labels)
        job.display_name = schedule.name  # all its runs are listed by it
        return Schedule(
            display_name=schedule.name,
            cron=schedule.cron,
            **dict.fromkeys(_LIMITS, schedule.max_concurrency),
            create_pipeline_job_request=CreatePipelineJobRequest(parent=self._api.config.parent, pipeline_job=job),
        )


def _job(config: VertexConfig, submission: Submission, labels: dict[str, str]) -> Any:
    job = PipelineJob(
        display_name=submission.name,
        pipeline_spec=submission.package.spec,
        labels=config.labels | submission.labels(config.environment) | labels,
        runtime_config=PipelineJob.RuntimeConfig(
            gcs_output_directory=config.pipeline_root, parameter_values=submission.arguments
        ),
        service_account=config.account_of(submission.lineage.pipeline),
        network=config.network,
    )
    if config.network_attachment:
        job.psc_interface_config = PscInterfaceConfig(network_attachment=config.network_attachment)
    if config.encryption_key:
        job.encryption_spec = EncryptionSpec(kms_key_name=config.encryption_key)
    return job


def _word(state: Any) -> str:
    """Name of a state; its number if the client's enum lacks it."""
    return getattr(state, "name", str(state))
