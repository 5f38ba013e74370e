"""Interface of the exit handler."""

from typing import Any

from kfp import dsl

from components import component


@component
def record_run(
    run_uri: str, lineage: dict[str, Any], job: str, job_created: str, status: dsl.PipelineTaskFinalStatus
) -> None:
    """Writes the run's summary and its report, whatever happened. Never cached.

    Args:
        run_uri: This run's record.
        lineage: `slipway.runs.record.Lineage`.
        job: The platform's id of this run; it names a run that recurs.
        job_created: When the platform made it.
        status: State of the pipeline, from the orchestrator.
    """
    from components.record_run.run import record
    from slipway.runs.naming import name_run

    record(*name_run(run_uri, lineage, job, job_created), status.state, status.error_message)
