"""Interface of the step that puts a blessed model into the store."""

from kfp import dsl

from components import component


@component()
def push_model(
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    serving_validation: dsl.Input[dsl.Artifact],
    store_uri: str,
    run: str,
    job: str,
    job_created: str,
) -> None:
    """Pushes the model if evaluation and serving validation blessed it; records the outcome. Never cached.

    The run's record has the artifacts of the data since admit_examples; `model` names its training log.
    """
    artifacts = {name: value for name, value in locals().items() if isinstance(value, dsl.Artifact)}
    from components.push_model.run import push
    from slipway.runs.naming import name_run

    paths = {name: artifact.path for name, artifact in artifacts.items()}
    uris = {name: artifact.uri for name, artifact in artifacts.items()} | model.metadata["made_with"]
    push(paths, uris, store_uri, name_run(run, job, job_created))
