"""A LeNet (LeCun et al., "Gradient-based learning applied to document recognition", 1998), with today's layers."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

CLASSES = 10


class RandomMove(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Turns, shifts and stretches each image at random: in training, and only there.

    It is one layer for all three, since each interpolation blurs an image; when the model serves they are sharp.
    """

    def __init__(self, turn: float, shift: float, stretch: float) -> None:
        super().__init__()
        self._turn, self._shift, self._stretch = turn, shift, stretch
        self._seed = keras.random.SeedGenerator()

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The images, moved if `training`."""
        if not training:
            return images
        count, (height, width) = ops.shape(images)[0], images.shape[1:3]
        turn, across, down, stretch = ops.unstack(keras.random.uniform((count, 4), -1, 1, seed=self._seed), 4, axis=1)
        angle, scale = turn * self._turn * 2 * math.pi, 1 + stretch * self._stretch
        cosine, sine = ops.cos(angle) * scale, ops.sin(angle) * scale
        x, y, zero = (width - 1) / 2, (height - 1) / 2, ops.zeros_like(angle)
        # For each pixel of the moved image, around its middle, where it is in the given one.
        from_x = x - cosine * x + sine * y + across * self._shift * width
        from_y = y - sine * x - cosine * y + down * self._shift * height
        moves = ops.stack([cosine, -sine, from_x, sine, cosine, from_y, zero, zero], axis=1)
        return ops.image.affine_transform(images, moves)


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Two convolutions with pooling, then dense layers.

    Args:
        features: What `preprocessing_fn` answers: `image`.
        hyperparameters: `turn` (of a full turn), `shift` and `stretch` (of the size) say how far an image is moved at
            random, either way. Then `filters` of each convolution, `hidden` (units), `dropout`; `learning_rate` at the
            start, from where it falls to 0 along a cosine in `steps` batches.
    """
    layers = keras.layers
    move = (float(hyperparameters[name]) for name in ("turn", "shift", "stretch"))
    image = RandomMove(*move)(features["image"])
    for filters in hyperparameters["filters"]:
        image = layers.Conv2D(int(filters), 5, padding="same", activation="relu")(image)
        image = layers.MaxPooling2D()(image)
    hidden = layers.Dense(int(hyperparameters["hidden"]), activation="relu")(layers.Flatten()(image))
    hidden = layers.Dropout(float(hyperparameters["dropout"]))(hidden)
    model = keras.Model(features, layers.Dense(CLASSES, activation="softmax")(hidden))
    rate = keras.optimizers.schedules.CosineDecay(
        float(hyperparameters["learning_rate"]), int(hyperparameters["steps"])
    )
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model
