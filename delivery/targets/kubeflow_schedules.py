"""Recurring runs on Kubeflow Pipelines."""

from __future__ import annotations

from typing import Any

from delivery.targets.base import Recurring, RemoteSchedule, find_made, label_value
from delivery.targets.kubeflow_api import KubeflowApi, status_of
from delivery.targets.kubeflow_upload import find_experiment, upload
from slipway.errors import TargetError

_PAGE = 100


class KubeflowSchedules:
    """See `delivery.targets.base.Schedules`. Recurring runs are immutable (kfp#3789): updates create a new one."""

    def __init__(self, api: KubeflowApi) -> None:
        self._api = api
        # What marks a recurring run as ours, in its description; the API keeps no labels of it.
        self._mark = f"managed-by: slipway\nenvironment: {label_value(api.config.environment)}\n"

    def list(self) -> list[RemoteSchedule]:
        """Schedules of this environment, oldest first."""
        experiment = find_experiment(self._api)
        if experiment is None:
            return []
        found: list[Any] = []
        token = ""
        while True:
            answer = self._api.call(
                "list the recurring runs",
                self._api.recurring_runs.recurring_run_service_list_recurring_runs,
                experiment_id=experiment.experiment_id,
                page_size=_PAGE,
                page_token=token,
            )
            found += answer.recurring_runs or []
            token = answer.next_page_token
            if not token:
                break
        owned = [self._schedule(run) for run in found if (run.description or "").startswith(self._mark)]
        return sorted(owned, key=lambda schedule: (schedule.created, schedule.id))

    def create(self, schedule: Recurring) -> None:
        """Creates a schedule, disabled: the one that it replaces stays active until then."""
        import kfp_server_api

        experiment, version = upload(self._api, schedule.submission.package)
        before = {one.id for one in self.list()}
        self._api.call(
            f"make the recurring run {schedule.name}",
            self._api.recurring_runs.recurring_run_service_create_recurring_run,
            recurring_run=kfp_server_api.V2beta1RecurringRun(
                display_name=schedule.name,
                description=f"{self._mark}schedule-digest: {schedule.digest}",
                experiment_id=experiment,
                mode=kfp_server_api.RecurringRunMode.DISABLE,
                max_concurrency=str(schedule.max_concurrency),
                no_catchup=not schedule.catch_up,
                pipeline_version_reference=version,
                runtime_config=kfp_server_api.V2beta1RuntimeConfig(
                    parameters=schedule.submission.arguments, pipeline_root=self._api.config.pipeline_root or None
                ),
                service_account=self._api.config.service_account or None,
                trigger=kfp_server_api.V2beta1Trigger(
                    # Kubeflow's cron begins with seconds.
                    cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=f"0 {schedule.cron}")
                ),
            ),
            already=lambda: find_made(self.list(), schedule, before),
        )

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Creates the new schedule beside `old`, which stays active until it is deleted."""
        self.create(schedule)

    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        """Enables a schedule."""
        self._api.call(
            f"enable the recurring run {old.name}",
            self._api.recurring_runs.recurring_run_service_enable_recurring_run,
            recurring_run_id=old.id,
        )

    def delete(self, old: RemoteSchedule) -> None:
        """Deletes a schedule but not its runs."""
        try:
            self._api.call(
                f"delete the recurring run {old.name}",
                self._api.recurring_runs.recurring_run_service_delete_recurring_run,
                recurring_run_id=old.id,
            )
        except TargetError as error:
            if status_of(error) != 404:
                raise

    def _schedule(self, run: Any) -> RemoteSchedule:
        facts = dict(line.split(": ", 1) for line in run.description.splitlines() if ": " in line)
        trigger = run.trigger.cron_schedule if run.trigger else None
        return RemoteSchedule(
            id=run.recurring_run_id,
            name=run.display_name,
            digest=facts.get("schedule-digest", ""),
            cron=(trigger.cron if trigger else "").removeprefix("0 "),
            enabled=run.status == "ENABLED" or (run.status is None and run.mode == "ENABLE"),
            created=run.created_at.timestamp() if run.created_at else 0.0,
            url=f"{self._api.config.ui_url}/#/recurringrun/details/{run.recurring_run_id}",
        )
