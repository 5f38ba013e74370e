"""Interface of the step that puts a blessed model into the store."""

from kfp import dsl

from components import component


@component()
def push_model(
    examples: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    anomalies: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    training_log: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    serving_validation: dsl.Input[dsl.Artifact],
    store_uri: str,
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    epochs: int,
    seed: int,
    hyperparameters: str,
) -> None:
    """Pushes the model if evaluation and serving validation blessed it; records the outcome. Never cached."""
    artifacts = {name: value for name, value in locals().items() if isinstance(value, dsl.Artifact)}
    from components.push_model.run import push
    from slipway.runs.naming import name_run

    fields = {
        "data_uri": data_uri,
        "window": window,
        "epochs": epochs,
        "seed": seed,
        "hyperparameters": hyperparameters,
    }
    paths = {name: artifact.path for name, artifact in artifacts.items()}
    uris = {name: artifact.uri for name, artifact in artifacts.items()}
    push(paths, uris, store_uri, name_run(run, job, job_created, **fields))
