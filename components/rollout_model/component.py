"""Interface of the step that brings a pushed version into production."""

from typing import Any, NamedTuple

from kfp import dsl

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
    rollout_page: dsl.Output[dsl.Markdown],
) -> NamedTuple("Rollout", [("rolled_back", str)]):  # type: ignore[valid-type]
    """Rolls the version that this run pushed out into the cluster, through a canary. Never cached.

    If the canary refuses it, `rolled_back` is why, and stops the run at the next step, so that `rollout_page` is seen.
    """
    from components.record_run.run import last_step
    from components.rollout_model.run import describe, roll_out
    from slipway.runs.naming import name_run
    from slipway.stores import storage

    this = name_run(**locals())
    with last_step(this, ends_run=False):
        outcome = roll_out(store_uri, rollout, this)
        storage.write_text(rollout_page.path, describe(outcome))
    return ("; ".join(outcome.reasons) if outcome and outcome.verdict == "rolled-back" else "",)
