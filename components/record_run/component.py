"""Interface of the exit handler."""

from typing import Any

from kfp import dsl

from components import component


@component
def record_run(
    run_uri: str,
    lineage: dict[str, Any],
    job: str,
    job_created: str,
    notifications: dict[str, Any],
    page: str,
    status: dsl.PipelineTaskFinalStatus,
) -> None:
    """Writes the run's summary and its report, whatever happened, and tells whom the settings name. Never cached.

    Args:
        run_uri: This run's record.
        lineage: `slipway.runs.record.Lineage`.
        job: The platform's id of this run, which names it; see `slipway.runs.naming.job_id`.
        job_created: When the platform made it.
        notifications: `slipway.runs.notifications.Notifications`; secrets are named in it, not held.
        page: Address of a run in the platform's UI, `{job}` in place of the run's id; empty where there is none.
        status: State of the pipeline, from the orchestrator.
    """
    from components.record_run.run import record, tell
    from slipway.runs.naming import name_run, page_of

    view = record(*name_run(run_uri, lineage, job, job_created), status.state, status.error_message)
    tell(view, notifications, page_of(page, job))
