"""Numbers as a network learns them best, for `preprocessing_fn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def count_steps(buckets: int) -> int:
    """The most steps of a number in `linear_steps`."""
    return 2 * buckets - 1


def linear_steps(numbers: tf.Tensor, buckets: int) -> tf.Tensor:
    """How many steps between quantiles of its column each number has passed, with the part of the one that it is in.

    A network that sees each step as an input of its own (`pass_steps` of `ensemble`) learns a bend at each quantile
    (Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning, 2022). Quantiles of all rows lie
    on the few values that most rows have, such as no capital gain. So there are others, of the rows that have none of
    the values on which two quantiles lie.

    Args:
        numbers: float64 `[batch, columns]`, NaN where missing: it has passed none.
        buckets: Each time the rows are cut into so many parts.

    Returns:
        float32 `[batch, columns]`, from 0 to `count_steps(buckets)`.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    def quantiles(values: tf.Tensor) -> tf.Tensor:
        # A row of zeros, since quantiles of nothing are an error of TensorFlow Transform.
        some = tf.concat([values, tf.zeros_like(values[:1])], axis=0)
        return tft.quantiles(some, buckets, epsilon=0.1 / buckets, reduce_instance_dims=False)

    values = tf.cast(numbers, tf.float32)  # as the quantiles are
    of_all = quantiles(values)
    frequent = tf.where(of_all[:, 1:] == of_all[:, :-1], of_all[:, 1:], float("nan"))
    is_frequent = tf.reduce_any(values[:, :, tf.newaxis] == frequent, axis=2)
    of_others = quantiles(tf.where(is_frequent, float("nan"), values))

    both_signs = tf.stack([values, -values], axis=1)
    ends = tft.max(tf.where(tf.math.is_nan(both_signs), values.dtype.min, both_signs), reduce_instance_dims=False)
    bounds = tf.stack([-ends[1], ends[0]], axis=1)
    bounds = tf.cast(tf.sort(tf.concat([bounds, of_all, of_others], axis=1), axis=1), tf.float64)
    low, high = bounds[:, :-1], bounds[:, 1:]
    passed = tf.clip_by_value(tf.math.divide_no_nan(numbers[:, :, tf.newaxis] - low, high - low), 0, 1)
    return tf.cast(tf.reduce_sum(tf.where(tf.math.is_nan(passed), tf.zeros_like(passed), passed), axis=2), tf.float32)
