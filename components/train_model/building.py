"""The module's model: the device it is trained on, building it, and checking that it fits the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from slipway.compute import Distribution
from slipway.errors import ModuleError, TrainingError
from slipway.module_kit.loader import load_function

if TYPE_CHECKING:
    from components.train_model.config import TrainConfig
    from components.train_model.dataset import TrainingData
    from components.train_model.features import Spec

FUNCTION = "build_model"
SAMPLE_ROWS = 1000


class Acceleration(NamedTuple):
    """What is made of a GPU: Keras' policy of types, and whether XLA compiles the training."""

    policy: str = "float32"
    xla: bool = False


NONE = Acceleration()


def choose_acceleration(config: Distribution, accelerator: str) -> Acceleration:
    """What the settings want, if there is a GPU; else nothing.

    `accelerator` is what the step asked its platform for, as `1 NVIDIA_L4`.

    Raises:
        TrainingError: the platform gave less than that.
    """
    if config.on_one_machine:
        tf.config.set_visible_devices([], "GPU")  # NVIDIA's NCCL takes no two processes on one GPU
    gpus, asked = len(tf.config.get_visible_devices("GPU")), int(accelerator.partition(" ")[0] or 0)
    if gpus < asked:
        raise TrainingError(
            f"the step asked for {accelerator}, and TensorFlow sees {gpus}: is gpu_image built with "
            "ACCELERATOR=gpu, and is the node's driver new enough for its CUDA? `nvidia-smi` in a pod there tells"
        )
    wanted = Acceleration(
        "float32" if config.mixed_precision == "none" else f"mixed_{config.mixed_precision}", config.xla
    )
    if wanted != NONE and not gpus:
        print("No GPU is here: mixed precision and XLA are left off, with which a CPU takes longer.", flush=True)
        return NONE
    return wanted


def make_strategy(config: Distribution) -> tf.distribute.Strategy:
    """The configured strategy of `tf.distribute` on one machine."""
    if config.strategy == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def build(model_uri: str, spec: Spec, config: TrainConfig, acceleration: Acceleration = NONE) -> keras.Model:
    """The module's model for these features.

    Raises:
        ModuleError: `build_model` fails, or answers something else than a compiled model of the task's shape.
    """
    features = {
        name: keras.Input(shape=tuple(feature.shape), dtype=feature.dtype.name, name=name)
        for name, feature in sorted(spec.items())
    }
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(acceleration.policy)
    try:
        model = load_function(model_uri, "model", FUNCTION)(features, dict(config.hyperparameters))
    finally:
        keras.config.set_dtype_policy(policy)
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
    model.jit_compile = acceleration.xla  # which Keras would choose itself, on a CPU too
    model.optimizer.build(model.trainable_variables)  # here, since the variables belong to the strategy's scope
    return model


def check_predictions(model: keras.Model, data: TrainingData, config: TrainConfig) -> None:
    """Checks the range of the predictions for some of the data.

    Raises:
        ModuleError: NaN, or no probabilities where the task needs them.
    """
    sample = data.features.take(data.validation[:SAMPLE_ROWS])
    predictions = np.asarray(model(sample, training=False), np.float32)
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
    rounded = 1e-3 if model.compute_dtype == "float32" else 2e-2
    if config.task == "multiclass" and not np.allclose(sums, 1, atol=rounded):
        raise ModuleError(
            f"model.py: the probabilities of the classes add up to {float(sums.min()):.3g} to {float(sums.max()):.3g}, "
            "not 1: end the model with a softmax"
        )
