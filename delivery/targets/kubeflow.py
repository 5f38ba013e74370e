"""Runs and recurring runs on Kubeflow Pipelines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import kfp_server_api

from delivery.targets.base import (
    Recurring,
    RemoteRun,
    RemoteSchedule,
    Schedules,
    Submission,
    Target,
    context_of,
    owner,
    seconds,
)
from delivery.targets.connection import KubeflowConfig
from delivery.targets.kubeflow_api import KubeflowApi, as_text, is_archived
from delivery.targets.kubeflow_workflow import Node, read_failure, read_steps
from slipway.errors import TargetError
from slipway.platforms.starter import PreparedRun
from slipway.runs.naming import JOB, name_by_key, run_name_of
from slipway.runs.record import RunContext, Step
from slipway.runs.states import KUBEFLOW_RUNS, State
from slipway.targets import RemoteTarget

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_UNSAID = "RUNTIME_STATE_UNSPECIFIED"  # the first of an enum may be left out of JSON
_VERSION = "kubeflow-pipelines"  # in the description of a recurring run: the server's version when it was made


class KubeflowTarget(Target):
    """Runs of one experiment."""

    name: RemoteTarget = "kubeflow"

    def __init__(self, config: KubeflowConfig) -> None:
        self.config = config
        self._api = KubeflowApi(config)
        self._place = config.url
        self.schedules = KubeflowSchedules(self._api)

    def submit(self, submission: Submission) -> RemoteRun:
        run = self._api.call(
            f"start the run {submission.name}",
            self._api.runs.run_service_create_run,
            run=self._content(submission),
            already=lambda: self._find(submission.name),
        )
        return self._run(run)

    def prepare(self, submission: Submission, by: str) -> PreparedRun:
        return PreparedRun(
            target=self.name,
            url=self.config.cluster_endpoint,
            path="/apis/v2beta1/runs",
            page=self.page(JOB),
            account=self.config.account_of(by),
            body=self._api.as_json(self._content(submission)),
        )

    def find_by_key(self, module: str, key: str) -> RemoteRun | None:
        runs = self._named(name_by_key(module, key))
        return self._run(min(runs, key=lambda run: run.created_at)) if runs else None

    def _content(self, submission: Submission) -> Any:
        experiment, version = self._api.upload(submission)
        labels = submission.labels(self.config.environment) | {"module": submission.lineage.module}
        del labels["pipeline-digest"]  # the version's name has it, and some databases keep 255 letters
        return kfp_server_api.V2beta1Run(
            experiment_id=experiment,
            display_name=submission.name,
            description=as_text(labels),
            pipeline_version_reference=version,
            runtime_config=_runtime_config(self.config, submission),
            service_account=self.config.account_of(submission.lineage.pipeline) or None,
        )

    def list(self, limit: int) -> list[RemoteRun]:
        found: list[Any] = []
        for experiment in self._api.experiments_of_environment():
            request, id_ = self._api.runs.run_service_list_runs, experiment.experiment_id
            listed = self._api.pages("runs", request, experiment_id=id_, page_size=limit, sort_by="created_at desc")
            found += islice(listed, limit)
        return [self._run(run) for run in sorted(found, key=lambda run: run.created_at, reverse=True)[:limit]]

    def show(self, run: str) -> RemoteRun:
        found = super().show(run)
        if found.state == "failed" and not any(step.state == "failed" for step in found.steps):
            return replace(found, error=read_failure(self._api.workflow(found.id)))
        return found

    def _context(self, job: Any) -> RunContext | None:
        version = self._api.version(job.pipeline_version_reference)
        spec = (version and version.pipeline_spec) or {}
        given = (job.runtime_config.parameters if job.runtime_config else None) or {}
        # With limits of the run there are two documents.
        return context_of(spec.get("pipeline_spec", spec), given, job.run_id, job.created_at)

    def page(self, run_id: str) -> str:
        return self.config.page(f"runs/details/{run_id}")

    def _find(self, run: str) -> Any:
        if found := _ID.search(run):
            return self._api.call(f"find the run {run}", self._api.runs.run_service_get_run, run_id=found[0])
        runs = self._named(run)
        if len(runs) > 1:
            ids = ", ".join(one.run_id for one in runs)
            raise TargetError(f"{len(runs)} runs are listed as {run!r}: give the id of one: {ids}")
        return self._find(runs[0].run_id) if runs else None

    def _named(self, name: str) -> Sequence[Any]:
        return self._api.find("runs", name, self._api.runs.run_service_list_runs, namespace=self._api.namespace)

    def _cancel(self, job: Any) -> None:
        if job.state != "CANCELING":
            self._api.call(f"cancel {job.display_name}", self._api.runs.run_service_terminate_run, run_id=job.run_id)

    def _run(self, job: Any) -> RemoteRun:
        if not job.run_id:
            raise TargetError(f"{self.config.url} answers without a run: is kubeflow.endpoint right?")
        labels = _facts(job.description)
        if "module" not in labels:  # it was started in the UI, without our description
            version = self._api.version(job.pipeline_version_reference)
            labels = _facts(version and version.description)
        module = labels.get("module")
        state = _state(job)
        return RemoteRun(
            id=job.run_id,
            name=run_name_of(self.name, module).replace(JOB, job.run_id) if module else job.display_name,
            state=state,
            url=self.page(job.run_id),
            created=seconds(job.created_at) or 0.0,
            finished=None if state in ("pending", "running") else seconds(job.finished_at),
            error=(job.error and job.error.message) or "",
            title=job.display_name,
            labels=labels,
        )

    def _steps(self, job: Any) -> Iterator[tuple[Step, Any]]:
        return read_steps(self._api.workflow(job.run_id))

    def _log(self, job: Any, task: Any) -> Iterator[str]:
        pods: list[Node] = task
        for pod in pods:
            if pod.state != "pending":
                yield from self._api.log(job.run_id, pod).splitlines()


class KubeflowSchedules(Schedules):
    """Recurring runs are immutable (kfp#3789): updates create a new one.

    They are looked for in the whole namespace: the settings may have named another experiment before.
    """

    def __init__(self, api: KubeflowApi) -> None:
        self._api = api
        # The start of the descriptions of our recurring runs.
        self._mark = as_text(owner(api.config.environment)) + "\n"

    def replace(self, old: RemoteSchedule, schedule: Recurring) -> None:
        self.create(schedule)  # `old` stays active until it is deleted

    def enable(self, old: RemoteSchedule, schedule: Recurring) -> None:
        if old.archived:
            raise self._api.archived_error(old.archived)
        request = self._api.recurring_runs.recurring_run_service_enable_recurring_run
        self._api.call(f"enable the recurring run {old.name}", request, recurring_run_id=old.id)

    def delete(self, old: RemoteSchedule) -> None:
        request = self._api.recurring_runs.recurring_run_service_delete_recurring_run
        self._api.call(f"delete the recurring run {old.name}", request, recurring_run_id=old.id, missing_ok=True)

    def _all(self) -> Iterator[RemoteSchedule]:
        find = cache(self._experiment)
        request = self._api.recurring_runs.recurring_run_service_list_recurring_runs
        for run in self._api.pages("recurring_runs", request):
            if not (run.description or "").startswith(self._mark):
                continue
            facts = _facts(run.description)
            experiment = find(run.experiment_id)
            trigger = run.trigger.cron_schedule if run.trigger else None
            yield RemoteSchedule(
                id=run.recurring_run_id,
                name=run.display_name,
                digest=facts.get("schedule-digest", ""),
                cron=(trigger.cron if trigger else "").removeprefix("0 "),
                enabled=run.status == "ENABLED",
                created=seconds(run.created_at) or 0.0,
                url=self._api.config.page(f"recurringrun/details/{run.recurring_run_id}"),
                stale=self._stale(experiment, facts.get(_VERSION, "")),
                archived=experiment.display_name if experiment and is_archived(experiment) else "",
            )

    def _experiment(self, experiment_id: str) -> Any:
        request = self._api.experiments.experiment_service_get_experiment
        return self._api.call("find an experiment", request, experiment_id=experiment_id, missing_ok=True)

    def _stale(self, experiment: Any, version: str) -> str:
        """Why a recurring run must be made anew; see docs/decisions/0030."""
        now = self._api.server_version()
        if experiment is None:
            return "its experiment was deleted"
        if now and now != version:
            return f"made under Kubeflow Pipelines {version or 'of an unknown version'}, which is {now} now"
        return ""

    def _create(self, schedule: Recurring, already: Callable[[], Any]) -> None:
        experiment, version = self._api.upload(schedule.submission)
        facts = {"schedule-digest": schedule.digest, _VERSION: self._api.server_version()}
        self._api.call(
            f"make the recurring run {schedule.name}",
            self._api.recurring_runs.recurring_run_service_create_recurring_run,
            recurring_run=kfp_server_api.V2beta1RecurringRun(
                display_name=schedule.name,
                description=self._mark + as_text(facts),
                experiment_id=experiment,
                mode=kfp_server_api.RecurringRunMode.DISABLE,  # the one that it replaces stays active until then
                max_concurrency=str(schedule.max_concurrency),
                no_catchup=not schedule.catch_up,
                pipeline_version_reference=version,
                runtime_config=_runtime_config(self._api.config, schedule.submission),
                service_account=self._api.config.account_of(schedule.submission.lineage.pipeline) or None,
                trigger=kfp_server_api.V2beta1Trigger(
                    # Kubeflow's cron begins with seconds.
                    cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=f"0 {schedule.cron}")
                ),
            ),
            already=already,
        )


def _runtime_config(config: KubeflowConfig, submission: Submission) -> Any:
    return kfp_server_api.V2beta1RuntimeConfig(
        parameters=submission.arguments, pipeline_root=config.pipeline_root or None
    )


def _state(job: Any) -> State:
    """A run that was terminated ends as failed, and only the state before tells.

    `ReportWorkflowResource`, backend/src/apiserver/resource/resource_manager.go.
    """
    before = [status.state for status in job.state_history or []][-2:-1]
    if job.state == "FAILED" and before == ["CANCELING"]:
        return "cancelled"
    return KUBEFLOW_RUNS.get(job.state or _UNSAID, "unknown")


def _facts(description: str | None) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in (description or "").splitlines() if ": " in line)
