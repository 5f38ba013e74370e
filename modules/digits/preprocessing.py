"""The image as the model sees it: brightness from 0 to 1. Nothing is learned from the data here.

Shifts and turns belong to training alone, so they are layers of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

WHITE = 255


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`image`, float32 `[batch, 28, 28, 1]`; a missing image, whose marker is a very small number, is black."""
    import tensorflow as tf

    return {"image": tf.cast(tf.clip_by_value(inputs["image"], 0, WHITE), tf.float32) / WHITE}
