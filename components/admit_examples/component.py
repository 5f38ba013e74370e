"""Interface of the step that stops a run on bad data."""

from typing import Any

from kfp import dsl

from components import component


@component()
def admit_examples(
    anomalies: dsl.Input[dsl.Artifact],
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    epochs: int,
    seed: int,
    hyperparameters: str,
    evaluation_config: dict[str, Any],
    store_uri: str,
) -> None:
    """Fails if validation found an error in the data; records what the data are and why they are refused. Never cached.

    `anomalies` names in its metadata what was validated, so that the run's record tells it without more inputs. The
    step also fails where a threshold compares with the model in production, and that model cannot predict the data.
    """
    from components.admit_examples.run import admit, find_unlike_production
    from slipway.evaluation.config import parse_evaluation_config
    from slipway.runs.naming import name_run

    named = name_run(**locals())
    unlike = []
    if any(one.max_drop is not None for one in parse_evaluation_config(evaluation_config).thresholds):
        unlike = find_unlike_production(store_uri, named.lineage.module, str(anomalies.metadata["schema_uri"]))
    admit(anomalies.path, anomalies.uri, anomalies.metadata, named, unlike)
