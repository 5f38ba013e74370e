"""The model: Keras 3, a probability for each example."""

from __future__ import annotations

from typing import Any

import keras

from slipway.module_parts.ensemble import Ensemble, dense_of_each, pass_steps
from slipway.module_parts.linear_steps import count_steps

from .preprocessing import BUCKETS, VOCABULARY_SIZE


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """A compiled model of what `preprocessing_fn` answers: the mean of small networks."""
    members, dropout = int(hyperparameters["members"]), float(hyperparameters["dropout"])
    # module.yaml may leave out all columns of a kind.
    parts = []
    if "numbers" in features:
        steps = pass_steps(features["steps"], count_steps(BUCKETS))
        parts += [features["numbers"], features["missing"], steps]
    if "categories" in features:
        embedding = keras.layers.Embedding(VOCABULARY_SIZE + 1, int(hyperparameters["embedding"]))
        parts.append(keras.layers.Flatten()(embedding(features["categories"])))
    inputs = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    each = keras.layers.RepeatVector(members)(inputs)
    for units in hyperparameters["hidden"]:
        each = dense_of_each(members, int(units), "relu")(each)
        each = keras.layers.Dropout(dropout)(each)
    each = dense_of_each(members, 1, "sigmoid")(each)
    model = Ensemble(features, each)
    model.compile(
        optimizer=keras.optimizers.Adam(float(hyperparameters["learning_rate"])),
        loss="binary_crossentropy",
        weighted_metrics=[keras.metrics.AUC(name="auc")],
    )
    return model
