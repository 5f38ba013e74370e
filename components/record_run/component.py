"""Interface of the exit handler."""

from kfp import dsl

from components import component


@component()
def record_run(
    run: str,
    job: str,
    job_created: str,
    status: dsl.PipelineTaskFinalStatus,
    run_page: dsl.Output[dsl.HTML],
    data_uri: str = "",
    window: int = 1,
    epochs: int = 1,
    seed: int = 0,
    hyperparameters: str = "",
) -> None:
    """Writes the run's summary and report, notifies people and writes to the tracker, however it ended. Never cached.

    `run_page` is the report, which the UI then shows at the first level of the graph.
    `run` is the JSON text of a `RunContext`; `job` and `job_created` are its platform's id and time of creation.
    The others are fields of the form; what a pipeline has not is not looked at.
    """
    from components.record_run.run import record, tell, title, write_to_tracker
    from slipway.runs.failures import folder_of_run, read_failures
    from slipway.runs.naming import job_id, name_run
    from slipway.runs.store import REPORT
    from slipway.runs.summary import read_if_there
    from slipway.stores import storage

    this = name_run(**locals())
    artifacts = folder_of_run(run_page.uri, job_id(job))
    failed = read_if_there(lambda: read_failures(artifacts)) if artifacts else None
    view = record(this, status.state, status.error_message, steps=failed)
    tell(view, this)
    # By which the UI's page of artifacts lists and filters it; it does not filter runs by anything but their names.
    run_page.metadata["display_name"] = title(view)
    storage.copy(storage.join(view.uri, REPORT), run_page.path)
    write_to_tracker(view, this)
