"""A list of words, a vector of four numbers, and a number that may be missing."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from slipway.module_api import fill_missing

WORDS = 8


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    words = tft.compute_and_apply_vocabulary(inputs["words"], top_k=WORDS - 1, num_oov_buckets=1)
    counts = tf.reduce_sum(tf.one_hot(words.to_tensor(-1), WORDS), axis=1)
    return {
        "words": tf.ensure_shape(counts, [None, WORDS]),
        "points": tft.scale_to_z_score(inputs["points"], elementwise=True),
        "size": tf.math.log1p(fill_missing(inputs["size"], 0)),
    }
