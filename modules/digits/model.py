"""A LeNet (LeCun et al., "Gradient-based learning applied to document recognition", 1998), with today's layers."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

CLASSES = 10


class RandomMove(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Turns, skews, stretches and shifts each image at random: in training, and only there.

    It is one layer for all, since each interpolation blurs an image; when the model serves they are sharp.
    """

    def __init__(self, turn: float, skew: float, stretch: float, shift: float) -> None:
        super().__init__()
        self._turn, self._skew, self._stretch, self._shift = turn * 2 * math.pi, skew, stretch, shift
        self._seed = keras.random.SeedGenerator()

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The images, moved if `training`."""
        if not training:
            return images
        count, (height, width) = ops.shape(images)[0], images.shape[1:3]
        turn, skew, wide, high, across, down = ops.unstack(
            keras.random.uniform((count, 6), -1, 1, seed=self._seed), 6, axis=1
        )
        cosine, sine, skew = ops.cos(turn * self._turn), ops.sin(turn * self._turn), skew * self._skew
        wide, high = 1 + wide * self._stretch, 1 + high * self._stretch
        # Where the pixel (x, y) of the moved image is in the given one: (a x + b y, c x + d y) around the middle.
        a, b, c, d = wide * cosine, high * (skew * cosine - sine), wide * sine, high * (skew * sine + cosine)
        x, y, zero = (width - 1) / 2, (height - 1) / 2, ops.zeros_like(a)
        from_x = x - a * x - b * y + across * self._shift * width
        from_y = y - c * x - d * y + down * self._shift * height
        return ops.image.affine_transform(images, ops.stack([a, b, from_x, c, d, from_y, zero, zero], axis=1))


def build_model(features: dict[str, keras.KerasTensor], hyperparameters: dict[str, Any]) -> keras.Model:
    """Two convolutions with pooling, then dense layers.

    Args:
        features: What `preprocessing_fn` answers: `image`.
        hyperparameters: How far an image is moved, either way: `turn` (of a full turn), `skew`, `stretch`, `shift` (of
            the size). Then `filters` of each convolution, `hidden` (units), `dropout`; `smoothing` of the labels in the
            loss; `learning_rate` at the start, from where it falls to 0 along a cosine in `steps` batches.
    """
    layers, given = keras.layers, hyperparameters
    image = RandomMove(*(float(given[name]) for name in ("turn", "skew", "stretch", "shift")))(features["image"])
    for filters in given["filters"]:
        image = layers.Conv2D(int(filters), 5, activation="relu")(image)
        image = layers.MaxPooling2D()(image)
    hidden = layers.Dense(int(given["hidden"]), activation="relu")(layers.Flatten()(image))
    hidden = layers.Dropout(float(given["dropout"]))(hidden)
    model = keras.Model(features, layers.Dense(CLASSES, activation="softmax")(hidden))

    def loss(labels: keras.KerasTensor, predictions: keras.KerasTensor) -> keras.KerasTensor:
        """Cross-entropy with smoothed labels: a few odd digits do not decide which epoch is the best."""
        wanted = ops.one_hot(ops.reshape(ops.cast(labels, "int32"), (-1,)), CLASSES)
        return keras.losses.categorical_crossentropy(wanted, predictions, label_smoothing=float(given["smoothing"]))

    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(float(given["learning_rate"]), int(given["steps"]))
        ),
        loss=loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model
