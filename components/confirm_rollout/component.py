"""The step that stops a run whose version was rolled back."""

from components import component


@component()
def confirm_rollout(
    rolled_back: str,
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    epochs: int,
    seed: int,
    hyperparameters: str,
) -> None:
    """Fails if the canary refused the version that this run pushed: `rolled_back` is why, or empty. Never cached."""
    from components.record_run.run import last_step
    from slipway.errors import RolloutError
    from slipway.runs.naming import name_run

    with last_step(name_run(**locals())):
        if rolled_back:
            raise RolloutError(f"the version was rolled back: {rolled_back}")
