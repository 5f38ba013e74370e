"""One hidden layer; a scalar feature is given a dimension of its own."""

from typing import Any

import keras

from .preprocessing import WORDS


def build_model(features: dict[str, Any], hyperparameters: dict[str, Any]) -> keras.Model:
    assert features["words"].shape == (None, WORDS)
    size = keras.layers.Reshape((1,))(features["size"])
    joined = keras.layers.Concatenate()([features["words"], features["points"], size])
    hidden = keras.layers.Dropout(0.1)(keras.layers.Dense(hyperparameters["units"], activation="relu")(joined))
    model = keras.Model(features, keras.layers.Dense(3, activation="softmax")(hidden))
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters["learning_rate"]),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
