"""Interface of the step that stops a run on bad data."""

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
) -> None:
    """Fails if validation found an error in the data; records what the data are and why they are refused. Never cached.

    `anomalies` names in its metadata what was validated, so that the run's record tells it without more inputs.
    """
    from components.admit_examples.run import admit
    from slipway.runs.naming import name_run

    admit(anomalies.path, anomalies.uri, anomalies.metadata, name_run(**locals()))
