"""From the columns of the data to what the model learns from.

Runs once over the training split to find means and vocabularies, and is part of the exported model: training and
serving cannot differ. A column that module.yaml keeps from the model (`ingestion.ignore`, `label.training_only`) may
stand here: it is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing
from slipway.module_parts.linear_steps import linear_steps

if TYPE_CHECKING:
    import tensorflow as tf

NUMBERS = ("x",)
BUCKETS = 5
# Values that are learned one by one. Those of fewer than RARE rows share a bucket, one for each column.
CATEGORIES = ("seg",)
VOCABULARY_SIZE = 1000
RARE = 2


def preprocessing_fn(inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """What the model learns from, one row an example."""
    import tensorflow as tf
    import tensorflow_transform as tft

    outputs = {}
    # Scaled in 64 bits: 32 do not tell two moments in milliseconds apart.
    columns = [fill_missing(tf.cast(inputs[name], tf.float64), float("nan")) for name in NUMBERS if name in inputs]
    if columns:
        numbers = tf.stack(columns, axis=1)
        missing = tf.math.is_nan(numbers)
        scaled = tft.scale_to_z_score(numbers, elementwise=True)
        # A missing number becomes the mean, and a flag of its own says that it was missing.
        outputs["numbers"] = tf.cast(tf.where(missing, tf.zeros_like(scaled), scaled), tf.float32)
        outputs["steps"] = linear_steps(numbers, BUCKETS)
        outputs["missing"] = tf.cast(missing, tf.float32)
    # One vocabulary of `column=value` for all columns: much faster than one each.
    tokens = [_token(name, inputs[name]) for name in CATEGORIES if name in inputs]
    if tokens:
        known = tft.compute_and_apply_vocabulary(
            tf.stack(tokens, axis=1),
            top_k=VOCABULARY_SIZE + 1 - len(tokens),
            frequency_threshold=RARE,
            default_value=-1,
            vocab_filename="categories",
        )
        rare = VOCABULARY_SIZE - tf.range(len(tokens), dtype=tf.int64)
        outputs["categories"] = tf.where(known < 0, rare, known)
    return outputs


def _token(name: str, feature: tf.SparseTensor) -> tf.Tensor:
    import tensorflow as tf

    values = feature.values if feature.dtype == tf.string else tf.as_string(tf.cast(feature.values, tf.int64))
    values = tf.strings.regex_replace(values, "[\\r\\n]", "␤")  # a vocabulary is a file of lines
    return fill_missing(feature.with_values(tf.strings.join([name, "=", values])), f"{name}=")
