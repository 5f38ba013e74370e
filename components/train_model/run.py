"""Fits the module's model and exports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.train_model.config import DistributionConfig, TrainConfig
from slipway.data.examples.dataset import SPLITS
from slipway.data.schema import model_inputs, read_schema
from slipway.runs.training_log import HISTORY, History
from slipway.stores import storage
from slipway.stores.artifacts import MODEL, TRANSFORM_GRAPH, TRANSFORMED, built_on_local_disk, check_whole


def train(
    examples_path: str,
    schema_path: str,
    transform_graph_path: str,
    transformed_path: str,
    model_uri: str,
    training: str,
    distribution: dict[str, Any],
    checkpoints_uri: str,
    model_path: str,
    training_log_path: str,
) -> History:
    """Trains and writes the SavedModel and the training log; see the component for the arguments.

    Raises:
        ModuleError: the module's code fails or breaks the contract.
        DataError: the data cannot be trained on.
        TrainingError: the training diverged.
        StoreError: an artifact is not whole, or cannot be written; the checkpoints stay then.
    """
    import keras

    from components.train_model.building import build, check_predictions
    from components.train_model.checkpoints import Checkpoints, digest_inputs
    from components.train_model.dataset import read_training_data, split_files, transformed_spec
    from components.train_model.export import export
    from components.train_model.fitting import fit
    from components.train_model.recorded import choose_rows, write_recorded
    from components.train_model.strategy import is_chief, make_strategy

    check_whole(transform_graph_path, TRANSFORM_GRAPH, "transform_features")
    check_whole(transformed_path, TRANSFORMED, "transform_features")
    config = TrainConfig.model_validate_json(training)
    strategy = make_strategy(DistributionConfig.model_validate(distribution))
    spec = transformed_spec(transform_graph_path)
    data = read_training_data(transformed_path, spec, config)
    keras.utils.set_random_seed(config.training.seed)
    with strategy.scope():
        model = build(model_uri, spec, config)
    check_predictions(model, data, config)

    files = [file for split in SPLITS for file in split_files(transformed_path, split)]
    digest = digest_inputs({"training": training, "model": model_uri, "distribution": distribution}, files)
    checkpoints = Checkpoints(storage.join(checkpoints_uri, digest), writable=is_chief(strategy))
    history = fit(model, data, config.training, checkpoints)
    check_predictions(model, data, config)
    if not is_chief(strategy):
        return history

    features = model_inputs(read_schema(schema_path))
    rows = choose_rows(examples_path, transformed_path, spec, features)
    with built_on_local_disk(model_path, MODEL) as folder:
        export(model, transform_graph_path, features, config.task, config.class_names, folder)
        write_recorded(rows, model, features, config.task != "regression", folder)
    with built_on_local_disk(training_log_path, HISTORY) as folder:
        _write_log(history, folder)
    checkpoints.clear()
    return history


def _write_log(history: History, path: Path) -> None:
    """`history.json`, and the same curves as TensorBoard reads them."""
    import tensorflow as tf
    from tensorflow.core.framework import summary_pb2

    storage.write_text(str(path / HISTORY), history.model_dump_json(indent=1))
    scalars = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class=summary_pb2.DATA_CLASS_SCALAR,
    )
    with tf.summary.create_file_writer(str(path / "tensorboard")).as_default():
        for epoch in history.epochs:
            for name, value in {"loss": epoch.loss, "val_loss": epoch.val_loss, **epoch.metrics}.items():
                tf.summary.write(name, tf.constant(value, tf.float32), epoch.epoch, scalars)
