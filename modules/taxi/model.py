"""The model of the taxi problem: a small network over embeddings."""

from __future__ import annotations

from typing import Any

import keras

from .preprocessing import FARE_STEPS, PERIOD_SIZE, PLACE_BUCKETS, VOCABULARY_SIZE


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Embeddings of all categories beside the numbers, then dense layers.

    Args:
        features: What `preprocessing_fn` answers.
        hyperparameters: `embedding` (width), `hidden` (units of each layer), `dropout`, `learning_rate`.
    """
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
    hidden = keras.layers.Concatenate()(deep)
    for units in hyperparameters["hidden"]:
        hidden = keras.layers.Dense(int(units), activation="relu")(hidden)
        hidden = keras.layers.Dropout(float(hyperparameters["dropout"]))(hidden)
    output = keras.layers.Dense(1, activation="sigmoid")(hidden)
    model = keras.Model(features, output)
    model.compile(
        optimizer=keras.optimizers.Adam(float(hyperparameters["learning_rate"])),
        loss="binary_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
    )
    return model
