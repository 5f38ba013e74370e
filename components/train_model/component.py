"""The step that trains and exports the model."""

from typing import Any, NamedTuple

from kfp import dsl

from components import component


@component(tensorflow=True)
def train_model(
    eval_sample: dsl.Input[dsl.Dataset],
    transform_graph: dsl.Input[dsl.Artifact],
    transformed_examples: dsl.Input[dsl.Dataset],
    model_uri: str,
    training: str,
    epochs: int,
    seed: int,
    hyperparameters: str,
    tuned: str,
    distribution: dict[str, Any],
    training_accelerator: str,
    checkpoints_uri: str,
    model: dsl.Output[dsl.Model],
    training_log: dsl.Output[dsl.Artifact],
    training_metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Trained", [("model_digest", str)]):  # type: ignore[valid-type]
    """Fits the module's model and exports it with the transform inside. Killed, it resumes from its last checkpoint.

    `training` is the JSON text of a `TrainConfig`, in which `epochs`, `seed` and `hyperparameters`, a JSON object, take
    the place of what is there, and last `tuned`, JSON of the winner's `Values`, if there is one.
    `training_accelerator` is what the step asked its platform for, as `1 NVIDIA_L4`. `model` is a
    SavedModel with `assets.extra/`; `training_log` holds `history.json` and TensorBoard's event files;
    `training_metrics` are for the Kubeflow UI. By `model_digest` resolve_baseline knows the candidate without taking
    the model.
    """
    import keras
    import tensorflow as tf
    from tensorflow_transform import TFTransformOutput

    from components.scalars import log_scalars
    from components.train_model.building import build, check_predictions, choose_acceleration, make_strategy
    from components.train_model.config import TrainConfig
    from components.train_model.dataset import TrainingData, read_training_data
    from components.train_model.export import choose_rows, export, write_recorded
    from components.train_model.fitting import Checkpoints, digest_inputs, fit, take_finished, write_history
    from slipway.compute import Distribution
    from slipway.data.examples.dataset import SPLITS, files_of_split
    from slipway.data.schema import model_inputs, read_schema
    from slipway.runs.training_log import HISTORY
    from slipway.stores import storage
    from slipway.stores.artifacts import MODEL, TRANSFORM_GRAPH, TRANSFORMED, built_on_local_disk, check_whole
    from slipway.stores.model_store import digest_model

    check_whole(transform_graph.path, TRANSFORM_GRAPH, "transform_features")
    check_whole(transformed_examples.path, TRANSFORMED, "transform_features")
    config = TrainConfig.model_validate_json(training).given(epochs, seed, hyperparameters, tuned)
    spread = Distribution.model_validate(distribution)
    acceleration = choose_acceleration(spread, training_accelerator)
    spec = TFTransformOutput(transform_graph.path).transformed_feature_spec()
    files = [file for split in SPLITS for file in files_of_split(transformed_examples.path, split)]
    digest = digest_inputs(
        {
            "training": config.model_dump_json(),
            "model": model_uri,
            "distribution": distribution,
            "accelerator": training_accelerator,
        },
        files,
    )
    checkpoints = Checkpoints(storage.join(checkpoints_uri, digest))
    data: TrainingData
    if spread.workers > 1:
        from components.train_model.shard import read_shard
        from components.train_model.workers import train_on_workers

        given = (transformed_examples, spec, model_uri, config, training_accelerator)
        if not train_on_workers(spread, *given, checkpoints):
            return ("",)  # the chief writes the outputs
        data = read_shard(transformed_examples.path, spec, config, 0, spread.workers)
    else:
        data = read_training_data(transformed_examples.path, spec, config)
    keras.utils.set_random_seed(config.training.seed)
    with make_strategy(spread).scope():  # after the workers' end: one of them had this machine's GPUs
        fitted = build(model_uri, spec, config, acceleration)
    if spread.workers > 1:
        history = take_finished(fitted, data, config.training, checkpoints)
    else:
        check_predictions(fitted, data, config)
        history = fit(fitted, data, config.training, checkpoints)
    if acceleration.policy != "float32":  # which servers compute in, and all but the last bits of an answer need
        fitted, weights = build(model_uri, spec, config), fitted.get_weights()
        fitted.set_weights(weights)
    check_predictions(fitted, data, config)

    features = model_inputs(read_schema(transform_graph.path))
    rows = choose_rows(eval_sample.path, transformed_examples.path, spec, features)
    with built_on_local_disk(model.path, MODEL) as folder:
        export(fitted, transform_graph.path, features, config, folder)
        write_recorded(*rows, fitted, features, config.task != "regression", folder)
    with built_on_local_disk(training_log.path, HISTORY) as folder:
        write_history(history, folder)
    model.metadata.update(framework=f"TensorFlow {tf.__version__}", hyperparameters=config.hyperparameters)
    log_scalars(training_metrics, history.scalars(config.training.model_dump(), config.hyperparameters))
    model.metadata["files"] = (
        "saved_model.pb, fingerprint.pb, variables/ and assets/: a SavedModel with the transform inside. "
        "assets.extra/: warm-up and golden requests."
    )
    training_log.metadata["files"] = "history.json: loss and metrics by epoch. tensorboard/: TensorBoard's event files."
    checkpoints.clear()
    model.metadata["training_log_uri"] = training_log.uri
    return (digest_model(model.path),)
