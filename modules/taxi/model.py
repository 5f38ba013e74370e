"""The model of the taxi problem: the mean of small networks over embeddings."""

from __future__ import annotations

from typing import Any

import keras

from slipway.module_parts.ensemble import Ensemble, dense_of_each

from .preprocessing import FARE_STEPS, PERIOD_SIZE, PLACE_BUCKETS, VOCABULARY_SIZE


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Embeddings of all categories beside the numbers, then dense layers.

    Args:
        features: What `preprocessing_fn` answers.
        hyperparameters: `members` (networks), `embedding` (width), `hidden` (units of each layer), `dropout`,
            `learning_rate`.
    """
    members, dropout = int(hyperparameters["members"]), float(hyperparameters["dropout"])
    width = int(hyperparameters["embedding"])
    embed = keras.layers.Embedding
    flat = keras.layers.Flatten()
    deep = [
        features["numbers"],
        flat(embed(VOCABULARY_SIZE + 1, width)(features["categories"])),
        embed(FARE_STEPS, width)(features["fare_step"]),
        flat(embed(PLACE_BUCKETS, width)(features["places"])),
        flat(embed(PERIOD_SIZE, width)(features["periods"])),
    ]
    each = keras.layers.RepeatVector(members)(keras.layers.Concatenate()(deep))
    for units in hyperparameters["hidden"]:
        each = dense_of_each(members, int(units), "relu")(each)
        each = keras.layers.Dropout(dropout)(each)
    each = dense_of_each(members, 1, "sigmoid")(each)
    model = Ensemble(features, each)
    model.compile(
        optimizer=keras.optimizers.Adam(float(hyperparameters["learning_rate"])),
        loss="binary_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
    )
    return model
