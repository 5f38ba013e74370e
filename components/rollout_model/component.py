"""Interface of the step that brings a pushed version into production."""

from typing import Any

from components import component


@component()
def rollout_model(
    store_uri: str,
    rollout: dict[str, Any],
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    epochs: int,
    seed: int,
    hyperparameters: str,
) -> None:
    """Rolls the version that this run pushed out into the cluster, through a canary. Never cached."""
    from components.record_run.run import last_step
    from components.rollout_model.run import roll_out
    from slipway.runs.naming import name_run

    fields = {
        "data_uri": data_uri,
        "window": window,
        "epochs": epochs,
        "seed": seed,
        "hyperparameters": hyperparameters,
    }
    this = name_run(run, job, job_created, **fields)
    with last_step(this):
        roll_out(store_uri, rollout, this)
