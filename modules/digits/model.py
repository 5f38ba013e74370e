"""A LeNet (LeCun et al., "Gradient-based learning applied to document recognition", 1998), with today's layers."""

from __future__ import annotations

from typing import Any

import keras

CLASSES = 10


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Two convolutions with pooling, then dense layers.

    Args:
        features: What `preprocessing_fn` answers: `image`.
        hyperparameters: `filters` of each convolution, `hidden` (units), `dropout`, `learning_rate`; `turn` and `shift`
            say how far an image is moved at random. That is done in training alone: these layers do nothing else.
    """
    layers = keras.layers
    turn, shift = float(hyperparameters["turn"]), float(hyperparameters["shift"])
    image = layers.RandomRotation(turn, fill_mode="constant")(features["image"])
    image = layers.RandomTranslation(shift, shift, fill_mode="constant")(image)
    for filters in hyperparameters["filters"]:
        image = layers.Conv2D(int(filters), 5, padding="same", use_bias=False)(image)
        image = layers.BatchNormalization()(image)
        image = layers.MaxPooling2D()(layers.Activation("relu")(image))
    hidden = layers.Dense(int(hyperparameters["hidden"]), activation="relu")(layers.Flatten()(image))
    hidden = layers.Dropout(float(hyperparameters["dropout"]))(hidden)
    model = keras.Model(features, layers.Dense(CLASSES, activation="softmax")(hidden))
    model.compile(
        optimizer=keras.optimizers.Adam(float(hyperparameters["learning_rate"])),
        loss="sparse_categorical_crossentropy",
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model
