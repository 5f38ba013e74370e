"""Interface of the exit handler."""

from kfp import dsl

from components import component


@component()
def record_run(
    run: str,
    job: str,
    job_created: str,
    status: dsl.PipelineTaskFinalStatus,
    data_uri: str = "",
    window: int = 1,
    epochs: int = 1,
    seed: int = 0,
    hyperparameters: str = "",
) -> None:
    """Writes the run's summary and report, notifies people and writes to the tracker, however it ended. Never cached.

    `run` is the JSON text of a `RunContext`; `job` and `job_created` are its platform's id and time of creation.
    The others are fields of the form; what a pipeline has not is not looked at.
    """
    from components.record_run.run import finish
    from slipway.runs.naming import name_run

    this = name_run(**locals())
    finish(this, status.state, status.error_message)
