"""Interface of the step that puts a blessed model into the store."""

from kfp import dsl

from components import component


@component
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
) -> None:
    """Pushes the model if evaluation and serving validation blessed it; records the outcome either way. Never cached.

    Args:
        examples: Output of ingest_examples.
        statistics: Output of compute_statistics.
        schema: Output of infer_schema.
        anomalies: Output of validate_examples.
        model: The candidate.
        training_log: Output of train_model.
        evaluation: Output of evaluate_model.
        serving_validation: Output of validate_serving.
        store_uri: The model store.
        run: JSON text of `slipway.runs.record.RunContext`.
        job: The platform's id of this run, which names it; see `slipway.runs.naming.job_id`.
        job_created: When the platform created it.
    """
    from components.push_model.run import push
    from slipway.runs.naming import name_run

    artifacts = {
        "examples": examples,
        "statistics": statistics,
        "schema": schema,
        "anomalies": anomalies,
        "model": model,
        "training_log": training_log,
        "evaluation": evaluation,
        "serving_validation": serving_validation,
    }
    paths = {name: artifact.path for name, artifact in artifacts.items()}
    uris = {name: artifact.uri for name, artifact in artifacts.items()}
    push(paths, uris, store_uri, name_run(run, job, job_created))
