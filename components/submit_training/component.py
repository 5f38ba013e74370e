"""The step that starts the training which the monitor's state asks for, on a cluster."""

from kfp import dsl

from components import component


@component()
def submit_training(
    module: str,
    training_uri: str,
    monitoring_uri: str,
    data_uri: str,
    window: int,
    run: str,
    job: str,
    job_created: str,
    training_page: dsl.Output[dsl.Markdown],
) -> None:
    """Looks the training up by its key, starts it if it is not there, and confirms the state. Never cached.

    `training_uri` is a prepared run of the training pipeline. A training that an earlier monitor asked for and could
    not start is started too.
    """
    from components.submit_training.run import submit
    from slipway.runs.naming import name_run
    from slipway.stores import storage

    this = name_run(**locals())
    said = submit(module, training_uri, monitoring_uri, {"data_uri": data_uri, "window": int(window)}, this)
    storage.write_text(training_page.path, said)
