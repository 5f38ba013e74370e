"""Runs on Kubeflow Pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError

from delivery.graph import step_name
from delivery.targets.base import ENDED, RemoteRun, Submission, labels_of
from delivery.targets.kubeflow_api import KubeflowApi
from delivery.targets.kubeflow_config import KubeflowConfig
from delivery.targets.kubeflow_schedules import KubeflowSchedules
from delivery.targets.kubeflow_upload import equals, find_experiment, upload
from slipway.errors import TargetError
from slipway.lineage import Lineage
from slipway.runs.naming import JOB
from slipway.runs.record import RunContext, Step
from slipway.runs.states import KUBEFLOW_RUNS, KUBEFLOW_STEPS

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_UNSAID = "RUNTIME_STATE_UNSPECIFIED"  # the first of an enum may be left out of JSON
# Nodes of the workflow that are no tasks of the pipeline.
_NOT_A_STEP = re.compile(r"root|executor|(exit-handler|condition|for-loop|iteration).*|.*-driver")


class KubeflowTarget:
    """See `delivery.targets.base.Target`."""

    def __init__(self, config: KubeflowConfig) -> None:
        self.config = config

    @property
    def name(self) -> Literal["kubeflow"]:
        """Its name for `--target`."""
        return "kubeflow"

    @cached_property
    def _api(self) -> KubeflowApi:
        return KubeflowApi(self.config)

    @cached_property
    def schedules(self) -> KubeflowSchedules:
        """Its recurring runs."""
        return KubeflowSchedules(self._api)

    def submit(self, submission: Submission) -> RemoteRun:
        """Uploads the pipeline if it is missing, and starts the run, once."""
        import kfp_server_api

        experiment, version = upload(self._api, submission.package)
        labels = labels_of(submission, self.config.environment)
        del labels["pipeline-digest"]  # the version's name has it, and some databases keep 255 letters
        run = self._api.call(
            f"start the run {submission.name}",
            self._api.runs.run_service_create_run,
            run=kfp_server_api.V2beta1Run(
                experiment_id=experiment,
                display_name=submission.name,
                # Runs have no labels in this API; their description is shown and can be searched.
                description="\n".join(f"{key}: {value}" for key, value in labels.items()),
                pipeline_version_reference=version,
                runtime_config=kfp_server_api.V2beta1RuntimeConfig(
                    parameters=submission.arguments, pipeline_root=self.config.pipeline_root or None
                ),
                service_account=self.config.service_account or None,
            ),
            already=lambda: self._find(submission.name),
        )
        return self._run(run)

    def show(self, run: str) -> RemoteRun:
        """A run by its id, name or title, with its steps."""
        return self._run(self._get(run))

    def list(self, limit: int) -> list[RemoteRun]:
        """The newest runs of the experiment, newest first."""
        experiment = find_experiment(self._api)
        if experiment is None:
            return []
        answer = self._api.call(
            "list the runs",
            self._api.runs.run_service_list_runs,
            experiment_id=experiment.experiment_id,
            page_size=limit,
            sort_by="created_at desc",
        )
        return [self._run(run) for run in answer.runs or []]

    def logs(self, run: str, step: str | None) -> Iterator[str]:
        """Lines of the log of one step, or of all steps in turn, while their pods exist."""
        found = self._get(run)
        tasks = {step_name(task.display_name): task for task in _tasks(found)}
        if step is not None and step not in tasks:
            raise TargetError(f"{found.display_name} has no step {step!r} yet; it has {', '.join(tasks) or 'none'}")
        for name, task in tasks.items():
            if step not in (None, name):
                continue
            # A task is a node without a pod of its own; its children run in pods.
            pods = [child.pod_name for child in task.child_tasks or [] if child.pod_name] or [task.pod_name]
            texts = [self._api.pod_log(found.run_id, pod) for pod in pods if pod]
            said = [line for text in texts for line in (text or "").splitlines()]
            if not any(text is not None for text in texts):
                said = ["(no log: the step came from the cache, or its pod is gone)"]
            yield from (line if step else f"{name}: {line}" for line in said)

    def cancel(self, run: str) -> RemoteRun:
        """Requests the cancellation of a run."""
        found = self._get(run)
        self._api.call(f"cancel {found.display_name}", self._api.runs.run_service_terminate_run, run_id=found.run_id)
        return self.show(found.run_id)

    def page(self, run_id: str) -> str:
        """URL of a run in the UI."""
        return f"{self.config.ui_url}/#/runs/details/{run_id}"

    def _get(self, run: str) -> Any:
        if found := _ID.search(run):
            return self._api.call(f"find the run {run}", self._api.runs.run_service_get_run, run_id=found[0])
        listed = self._find(run)
        if listed is None:
            raise TargetError(
                f"there is no run {run!r} in the experiment {self.config.experiment} of {self.config.url}; "
                "`slipway runs list --target kubeflow` lists them"
            )
        return self._get(listed.run_id)

    def _find(self, name: str) -> Any:
        experiment = find_experiment(self._api)
        if experiment is None:
            return None
        answer = self._api.call(
            f"look for the run {name}",
            self._api.runs.run_service_list_runs,
            experiment_id=experiment.experiment_id,
            filter=equals("display_name", name),
        )
        runs = answer.runs or []
        if len(runs) > 1:
            ids = ", ".join(run.run_id for run in runs)
            raise TargetError(f"{len(runs)} runs are listed as {name!r}: give the id of one: {ids}")
        return runs[0] if runs else None

    def _run(self, run: Any) -> RemoteRun:
        if not run.run_id:
            raise TargetError(f"{self.config.url} answers without a run: is kubeflow.endpoint right?")
        lines = [line.partition(": ") for line in (run.description or "").splitlines()]
        labels = {key: value for key, separator, value in lines if separator}
        lineage = _lineage(run)
        if lineage and not labels:  # the UI gives a clone the arguments, and no description
            labels = {"module": lineage.module}
        state = KUBEFLOW_RUNS.get(run.state or _UNSAID, "unknown")
        return RemoteRun(
            id=run.run_id,
            name=lineage.run.replace(JOB, run.run_id) if lineage else run.display_name,
            state=state,
            url=self.page(run.run_id),
            created=_seconds(run.created_at) or 0.0,
            finished=_seconds(run.finished_at) if state in ENDED or state == "unknown" else None,
            error=run.error.message if run.error and run.error.message else "",
            title=run.display_name,
            labels=labels,
            steps=[_step(task) for task in _tasks(run)],
        )


def _lineage(run: Any) -> Lineage | None:
    """The lineage in a run's arguments; None for a run of another program."""
    given = (run.runtime_config.parameters if run.runtime_config else None) or {}
    try:
        return RunContext.model_validate_json(given.get("run", "")).lineage
    except ValidationError:
        return None


def _tasks(run: Any) -> list[Any]:
    details = run.run_details.task_details if run.run_details else None
    found = [task for task in details or [] if task.display_name and not _NOT_A_STEP.fullmatch(task.display_name)]
    return sorted(found, key=lambda task: _seconds(task.start_time) or _seconds(task.create_time) or 0.0)


def _step(task: Any) -> Step:
    started, ended = _seconds(task.start_time), _seconds(task.end_time)
    state = KUBEFLOW_STEPS.get(task.state or _UNSAID, "unknown")
    return Step(
        name=step_name(task.display_name),
        state=state,
        started=started,
        seconds=round(ended - started, 3) if started and ended and state not in ("pending", "running") else None,
        error=task.error.message if task.error and task.error.message else None,
    )


def _seconds(moment: Any) -> float | None:
    # The API answers 1970-01-01 for what has not happened.
    return moment.timestamp() if moment and moment.timestamp() > 0 else None
