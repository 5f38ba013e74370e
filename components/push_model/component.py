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
    data_uri: str,
    window: int,
    epochs: int,
    seed: int,
    hyperparameters: str,
    verdict: dsl.Output[dsl.Markdown],
) -> None:
    """Pushes the model if evaluation and serving validation blessed it; records the outcome. Never cached.

    `verdict` says it to people: pushed or refused, why, against which baseline.
    The run's record has the artifacts of the data since admit_examples; `model` names its training log.
    """
    from components.push_model.run import push
    from components.push_model.verdict import describe_verdict
    from slipway.evaluation.results import read_evaluation
    from slipway.runs.naming import name_run
    from slipway.stores import storage

    artifacts = {"model": model, "evaluation": evaluation, "serving_validation": serving_validation}
    paths = {name: artifact.path for name, artifact in artifacts.items()}
    uris = {name: artifact.uri for name, artifact in artifacts.items()}
    uris["training_log"] = model.metadata["training_log_uri"]
    this = name_run(**locals())
    outcome, judged = push(paths, uris, store_uri, this), read_evaluation(paths["evaluation"])
    storage.write_text(verdict.path, describe_verdict(outcome, judged, this))
    facts = {"verdict": outcome.verdict, "version": outcome.version, "baseline_version": judged.baseline_version}
    verdict.metadata.update({name: value for name, value in facts.items() if value is not None})
