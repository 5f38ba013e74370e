"""Interface of the exit handler."""

from typing import Any

from kfp import dsl

from components import component


@component
def record_run(run_uri: str, lineage: dict[str, Any], status: dsl.PipelineTaskFinalStatus) -> None:
    """Writes the run's summary and its report, whatever happened. Never cached.

    Args:
        run_uri: This run's record.
        lineage: `slipway.runs.record.Lineage`.
        status: State of the pipeline, from the orchestrator.
    """
    from components.record_run.run import record

    record(run_uri, lineage, status.state, status.error_message)
