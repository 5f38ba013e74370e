"""The step that searches for hyperparameters."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component


@component(tensorflow=True)
def tune_model(
    transform_graph: dsl.Input[dsl.Artifact],
    transformed_examples: dsl.Input[dsl.Dataset],
    model_uri: str,
    training: str,
    distribution: dict[str, Any],
    tuning_accelerator: str,
    search: str,
    tuning_uri: str,
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    epochs: int,
    seed: int,
    hyperparameters: str,
    tuning: dsl.Output[dsl.Artifact],
    tuning_page: dsl.Output[dsl.HTML],
) -> NamedTuple("Tuned", [("tuned", str)]):  # type: ignore[valid-type]
    """Trains with values of the search space, on the training split alone, until a bound or the target is reached.

    Finished trials are files below `tuning_uri`: killed, the search goes on; done, it is over at once. Never cached.
    `training` is the JSON text of a `TrainConfig`, with the fields of the form in the place of what is there, and
    `search` that of a `TuneConfig`; `tuning_accelerator` is what the step asked its platform for. `tuned` are the
    winner's `Values`, with which train_model goes on.
    """
    from pathlib import Path

    from components.train_model.config import TrainConfig
    from components.tune_model.run import TuneConfig, tune
    from slipway.compute import Distribution
    from slipway.runs.naming import name_run
    from slipway.runs.summary import TUNING
    from slipway.stores import storage
    from slipway.stores.artifacts import TRANSFORM_GRAPH, TRANSFORMED, check_whole
    from slipway.tuning.page import render_tuning
    from slipway.tuning.result import RESULT, TuningRecord

    check_whole(transform_graph.path, TRANSFORM_GRAPH, "transform_features")
    check_whole(transformed_examples.path, TRANSFORMED, "transform_features")
    this = name_run(**locals())
    own = TrainConfig.model_validate_json(training)
    config = own.given(epochs, seed, hyperparameters)
    wanted = TuneConfig.model_validate_json(search).fixed(own, config)
    devices = Distribution.model_validate({**distribution, "workers": 1})
    result = tune(
        *(transform_graph.path, transformed_examples.path, model_uri, config, wanted),
        *(devices, tuning_accelerator, tuning_uri, this),
    )
    print(result.tuned.reason)
    storage.write_text(storage.join(tuning.path, RESULT), result.model_dump_json(indent=1))
    tuning.metadata.update(
        files=f"{RESULT}: all trials, the winner, and why the search ended.",
        trials_uri=result.uri,
        ended=result.tuned.ended,
    )
    Path(tuning_page.path).write_text(render_tuning(result), encoding="utf-8")
    record = TuningRecord(trials_uri=result.uri, tuned=result.tuned, artifacts={"tuning": tuning.uri})
    storage.write_text(storage.join(this.uri, TUNING), record.model_dump_json(indent=1))
    return (result.tuned.values.model_dump_json(),)
