"""Recurring runs on Vertex AI Pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from delivery.targets.base import Recurring, RemoteSchedule, Submission, find_made, label_value
from delivery.targets.vertex_api import VertexApi, code_of
from slipway.errors import TargetError

_PAGE = 100


class VertexSchedules:
    """See `delivery.targets.base.Schedules`. The labels of a schedule's runs hold its environment and digest."""

    def __init__(self, api: VertexApi, job: Callable[[Submission, dict[str, str]], Any]) -> None:
        self._api = api
        self._job = job

    def list(self) -> list[RemoteSchedule]:
        """Schedules of this environment, oldest first."""
        request = {"parent": self._api.config.parent, "page_size": _PAGE}

        def every(**arguments: Any) -> Any:
            return [*self._api.schedules.list_schedules(**arguments)]

        found = self._api.call("list the schedules", lambda: every, request=request)
        owned = [one for one in map(self._schedule, found) if one]
        return sorted(owned, key=lambda schedule: (schedule.created, schedule.id))

    def create(self, schedule: Recurring) -> None:
        """Creates a schedule; Vertex cannot create a paused one."""
        before = {one.id for one in self.list()}
        self._api.call(
            f"make the schedule {schedule.name}",
            lambda: self._api.schedules.create_schedule,
            parent=self._api.config.parent,
            schedule=self._content(schedule),
            already=lambda: find_made(self.list(), schedule, before),
        )

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Updates `old` in place, with one request."""
        from google.protobuf.field_mask_pb2 import FieldMask

        content = self._content(schedule)
        content.name = old.id
        paths = ["cron", "create_pipeline_job_request", "max_concurrent_run_count"]
        self._api.call(
            f"change the schedule {schedule.name}",
            lambda: self._api.schedules.update_schedule,
            schedule=content,
            update_mask=FieldMask(paths=paths),
        )

    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Resumes a schedule."""
        request = {"name": old.id, "catch_up": schedule.catch_up}
        self._api.call(
            f"resume the schedule {schedule.name}", lambda: self._api.schedules.resume_schedule, request=request
        )

    def delete(self, old: RemoteSchedule) -> None:
        """Deletes a schedule but not its runs."""
        try:
            self._api.call(f"delete the schedule {old.name}", lambda: self._api.schedules.delete_schedule, name=old.id)
        except TargetError as error:
            if code_of(error) != 404:
                raise

    def _content(self, schedule: Recurring) -> Any:
        from google.cloud.aiplatform_v1 import CreatePipelineJobRequest, Schedule

        job = self._job(schedule.submission, {"schedule": schedule.name, "schedule-digest": schedule.digest})
        job.display_name = schedule.name  # all its runs are listed by it
        return Schedule(
            display_name=schedule.name,
            cron=schedule.cron,
            max_concurrent_run_count=schedule.max_concurrency,
            create_pipeline_job_request=CreatePipelineJobRequest(parent=self._api.config.parent, pipeline_job=job),
        )

    def _schedule(self, found: Any) -> RemoteSchedule | None:
        labels = found.create_pipeline_job_request.pipeline_job.labels
        ours = {"managed-by": "slipway", "environment": label_value(self._api.config.environment)}
        if not ours.items() <= dict(labels).items() or found.state.name not in ("ACTIVE", "PAUSED"):
            return None
        return RemoteSchedule(
            id=found.name,
            name=found.display_name,
            digest=labels.get("schedule-digest", ""),
            cron=found.cron,
            enabled=found.state.name == "ACTIVE",
            created=found.create_time.timestamp(),
            url=self._api.config.console(f"schedules/{found.name.rpartition('/')[2]}"),
        )
