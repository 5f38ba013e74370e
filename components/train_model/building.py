"""The module's model: the device it is trained on, building it, and checking that it fits the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from slipway.compute import DistributionConfig
from slipway.errors import ModuleError
from slipway.module_kit.loader import load_function

if TYPE_CHECKING:
    from components.train_model.config import TrainConfig
    from components.train_model.dataset import TrainingData
    from components.train_model.features import Spec

FUNCTION = "build_model"
SAMPLE_ROWS = 1000


def make_strategy(config: DistributionConfig) -> tf.distribute.Strategy:
    """The configured strategy of `tf.distribute`."""
    if config.strategy == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def build(model_uri: str, spec: Spec, config: TrainConfig) -> keras.Model:
    """The module's model for these features.

    Raises:
        ModuleError: `build_model` fails, or answers something else than a compiled model of the task's shape.
    """
    features = {
        name: keras.Input(shape=tuple(feature.shape), dtype=feature.dtype.name, name=name)
        for name, feature in sorted(spec.items())
    }
    model = load_function(model_uri, "model", FUNCTION)(features, dict(config.hyperparameters))
    if not isinstance(model, keras.Model):
        raise ModuleError(f"model.py: {FUNCTION} returns a keras.Model, not {type(model).__name__}")
    if not model.compiled:
        raise ModuleError(f"model.py: {FUNCTION} returns a model that is not compiled; call model.compile(…) first")
    wanted = (None, len(config.classes) if config.task == "multiclass" else 1)
    if tuple(model.output_shape) != wanted:
        raise ModuleError(
            f"model.py: the model answers shape {tuple(model.output_shape)}, but task {config.task} needs {wanted}"
            + (": one probability per class" if config.task == "multiclass" else "")
        )
    if model.jit_compile and not tf.config.list_physical_devices("GPU"):
        model.jit_compile = False  # compiling with XLA costs a CPU more than it gives
    model.optimizer.build(model.trainable_variables)  # here, since the variables belong to the strategy's scope
    return model


def check_predictions(model: keras.Model, data: TrainingData, config: TrainConfig) -> None:
    """Checks the range of the predictions for some of the data.

    Raises:
        ModuleError: NaN, or no probabilities where the task needs them.
    """
    sample = data.features.take(data.validation[:SAMPLE_ROWS])
    predictions = np.asarray(model(sample, training=False))
    if not np.isfinite(predictions).all():
        raise ModuleError("model.py: the model answers NaN or infinity on the training data")
    if config.task == "regression":
        return
    low, high = float(predictions.min()), float(predictions.max())
    if low < 0 or high > 1:
        raise ModuleError(
            f"model.py: the model answers {low:.3g} to {high:.3g}, not probabilities: end it with a "
            f"{'sigmoid' if config.task == 'binary' else 'softmax'}, and keep from_logits=False in the loss"
        )
    sums = predictions.sum(axis=1)
    if config.task == "multiclass" and not np.allclose(sums, 1, atol=1e-3):
        raise ModuleError(
            f"model.py: the probabilities of the classes add up to {float(sums.min()):.3g} to {float(sums.max()):.3g}, "
            "not 1: end the model with a softmax"
        )
