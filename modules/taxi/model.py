"""The model of the taxi problem: the mean of small networks over embeddings."""

from __future__ import annotations

from typing import Any

import keras

from slipway.module_parts.ensemble import Ensemble, dense_of_each, pass_steps

from .preprocessing import BUCKETS, PERIOD_SIZE, VOCABULARY_SIZE


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Embeddings of all categories beside the numbers and their steps, then dense layers.

    Args:
        features: What `preprocessing_fn` answers.
        hyperparameters: `members` (networks), `embedding` (width), `hidden` (units of each layer), `dropout`,
            `learning_rate` at the start, `decay_steps` (batches in which it falls to a tenth).
    """
    members, dropout = int(hyperparameters["members"]), float(hyperparameters["dropout"])
    width = int(hyperparameters["embedding"])
    embed = keras.layers.Embedding
    flat = keras.layers.Flatten()
    deep = [
        features["numbers"],
        pass_steps(features["steps"], BUCKETS - 2),  # so many lie between the quantiles that cut BUCKETS
        flat(embed(VOCABULARY_SIZE + 1, width)(features["categories"])),
        flat(embed(BUCKETS, width)(features["places"])),
        flat(embed(PERIOD_SIZE, width)(features["periods"])),
    ]
    each = keras.layers.RepeatVector(members)(keras.layers.Concatenate()(deep))
    for units in hyperparameters["hidden"]:
        each = dense_of_each(members, int(units), "relu")(each)
        each = keras.layers.Dropout(dropout)(each)
    each = dense_of_each(members, 1, "sigmoid")(each)
    model = Ensemble(features, each)
    falling = keras.optimizers.schedules.CosineDecay(
        float(hyperparameters["learning_rate"]), int(hyperparameters["decay_steps"]), alpha=0.1
    )
    model.compile(
        optimizer=keras.optimizers.Adam(falling),
        loss="binary_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
    )
    return model
