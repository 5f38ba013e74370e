"""Runs on Vertex AI Pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any, Literal

from delivery.graph import step_name
from delivery.targets.base import RemoteRun, Submission, labels_of
from delivery.targets.vertex_api import VertexApi, VertexConfig, code_of
from delivery.targets.vertex_schedules import VertexSchedules
from slipway.errors import TargetError
from slipway.runs.record import Step
from slipway.runs.states import VERTEX_RUNS, VERTEX_STEPS

_MANAGED = 'labels.managed-by="slipway"'
# A list without the specs: each is half a megabyte.
_BRIEF = ("name", "display_name", "state", "labels", "create_time", "end_time", "error")


class VertexTarget:
    """See `delivery.targets.base.Target`."""

    def __init__(self, config: VertexConfig) -> None:
        self.config = config
        self._api = VertexApi(config)

    @property
    def name(self) -> Literal["vertex"]:
        """Its name for `--target`."""
        return "vertex"

    @cached_property
    def schedules(self) -> VertexSchedules:
        """Its recurring runs."""
        return VertexSchedules(self._api, self._job)

    def submit(self, submission: Submission) -> RemoteRun:
        """Starts the run, once: we choose its id, so that a retry finds the run of the first attempt."""
        try:
            job = self._api.call(
                f"start the run {submission.name}",
                lambda: self._api.jobs.create_pipeline_job,
                parent=self.config.parent,
                pipeline_job=self._job(submission, {}),
                pipeline_job_id=_job_id(submission.name),
                already=lambda: self._find(submission.name),
            )
        except TargetError as error:
            # No one else makes a run of this name: an attempt whose answer was lost made it.
            job = self._find(submission.name) if code_of(error) == 409 else None
            if job is None:
                raise
        return self._run(job)

    def show(self, run: str) -> RemoteRun:
        """A run by its id or its name, with its steps."""
        return self._run(self._get(run))

    def list(self, limit: int) -> list[RemoteRun]:
        """Slipway's newest runs, newest first, without steps."""
        from google.protobuf.field_mask_pb2 import FieldMask

        request = {
            "parent": self.config.parent,
            "filter": _MANAGED,
            "order_by": "create_time desc",
            "page_size": min(limit, 64),
            "read_mask": FieldMask(paths=_BRIEF),
        }

        def newest(**arguments: Any) -> Any:
            return [*islice(self._api.jobs.list_pipeline_jobs(**arguments), limit)]

        return [self._run(job) for job in self._api.call("list the runs", lambda: newest, request=request)]

    def logs(self, run: str, step: str | None) -> Iterator[str]:
        """Lines of the log of one step, or of all steps in turn; cached steps have none."""
        found = self._get(run)
        tasks = {step_name(task.task_name): task for task in _tasks(found)}
        if step is not None and step not in tasks:
            raise TargetError(f"{found.display_name} has no step {step!r} yet; it has {', '.join(tasks) or 'none'}")
        for name, task in tasks.items():
            detail = task.executor_detail.container_detail
            if step in (None, name):
                for job in [*detail.failed_main_jobs, *([detail.main_job] if detail.main_job else [])]:
                    yield from (line if step else f"{name}: {line}" for line in self._api.log_lines(job))

    def cancel(self, run: str) -> RemoteRun:
        """Requests the cancellation of a run."""
        name = self._get(run).name
        self._api.call(f"cancel {run}", lambda: self._api.jobs.cancel_pipeline_job, name=name)
        return self.show(run)

    def page(self, run_id: str) -> str:
        """URL of a run in the console."""
        return self.config.console(f"runs/{run_id}")

    def _job(self, submission: Submission, labels: dict[str, str]) -> Any:
        from google.cloud.aiplatform_v1 import EncryptionSpec, PipelineJob

        config = self.config
        job = PipelineJob(
            display_name=submission.name,
            pipeline_spec=submission.package.spec,
            labels=config.labels | labels_of(submission, config.environment) | labels,
            runtime_config=PipelineJob.RuntimeConfig(
                gcs_output_directory=config.pipeline_root, parameter_values=submission.arguments
            ),
            service_account=config.service_account,
            network=config.network,
        )
        if config.encryption_key:
            job.encryption_spec = EncryptionSpec(kms_key_name=config.encryption_key)
        return job

    def _get(self, run: str) -> Any:
        name = f"{self.config.parent}/pipelineJobs/{_job_id(run)}"
        try:
            return self._api.call(f"find the run {run}", lambda: self._api.jobs.get_pipeline_job, name=name)
        except TargetError as error:
            if code_of(error) == 404:
                raise TargetError(
                    f"there is no run {run!r} in {self.config.parent}; `slipway runs list --target vertex` lists them"
                ) from error.__cause__
            raise

    def _find(self, run: str) -> Any:
        try:
            return self._get(run)
        except TargetError as error:
            if code_of(error) == 404:
                return None
            raise

    def _run(self, job: Any) -> RemoteRun:
        job_id = job.name.rpartition("/")[2]
        return RemoteRun(
            id=job_id,
            name=job_id,
            state=VERTEX_RUNS.get(_word(job.state), "unknown"),
            url=self.page(job_id),
            created=_seconds(job.create_time) or 0.0,
            finished=_seconds(job.end_time),
            error=job.error.message,
            title=job.display_name,
            labels=dict(job.labels),
            steps=[_step(task) for task in _tasks(job)],
        )


def _job_id(name: str) -> str:
    return re.sub(r"[^-a-z0-9]", "-", name.lower())


def _tasks(job: Any) -> list[Any]:
    groups = {task.parent_task_id for task in job.job_detail.task_details}
    found = [task for task in job.job_detail.task_details if task.task_id not in groups]
    return sorted(found, key=lambda task: _seconds(task.start_time) or _seconds(task.create_time) or 0.0)


def _step(task: Any) -> Step:
    started, ended = _seconds(task.start_time), _seconds(task.end_time)
    return Step(
        name=step_name(task.task_name),
        state=VERTEX_STEPS.get(_word(task.state), "unknown"),
        started=started,
        seconds=round(ended - started, 3) if started and ended else None,
        cached=_word(task.state) == "SKIPPED",
        error=task.error.message or None,
    )


def _word(state: Any) -> str:
    """Name of a state; its number if the client's enum lacks it."""
    return getattr(state, "name", str(state))


def _seconds(moment: Any) -> float | None:
    return moment.timestamp() if moment else None
