"""The model of the loan problem: a few hundred rows carry one small layer, with much dropout."""

from __future__ import annotations

from typing import Any

import keras

from .preprocessing import VOCABULARY_SIZE


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Embeddings of the categories beside the numbers, then a dense layer.

    Args:
        features: What `preprocessing_fn` answers.
        hyperparameters: `embedding` (width), `hidden` (units), `dropout`, `learning_rate`.
    """
    embedded = keras.layers.Embedding(VOCABULARY_SIZE + 1, int(hyperparameters["embedding"]))(features["categories"])
    joined = keras.layers.Concatenate()([features["numbers"], keras.layers.Flatten()(embedded)])
    hidden = keras.layers.Dense(int(hyperparameters["hidden"]), activation="relu")(joined)
    hidden = keras.layers.Dropout(float(hyperparameters["dropout"]))(hidden)
    output = keras.layers.Dense(1, activation="sigmoid")(hidden)
    model = keras.Model(features, output)
    model.compile(
        optimizer=keras.optimizers.Adam(float(hyperparameters["learning_rate"])),
        loss="binary_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy")],
    )
    return model
