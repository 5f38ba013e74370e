"""The model of the first run."""

from __future__ import annotations

from typing import Any

import keras

PAYMENTS = 8


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """One hidden layer of `hidden` units over all features."""
    payment = keras.layers.CategoryEncoding(PAYMENTS, output_mode="one_hot")(features["payment"])
    numbers = [keras.layers.Reshape((1,))(features[name]) for name in ("miles", "fare")]
    hidden = keras.layers.Dense(hyperparameters["hidden"], activation="relu")(
        keras.layers.Concatenate()([*numbers, payment])
    )
    model = keras.Model(features, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile(optimizer="adam", loss="binary_crossentropy")
    return model
