"""Taxi features: what is known when the meter stops, before the tip.

On small data TensorFlow Transform's time goes by the number of analyzers and operations, not of rows. So columns of
one kind are stacked: one quantiles analysis serves all numbers, one vocabulary all categories (as `column=value`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf

PLACES = ("pickup_latitude", "pickup_longitude", "dropoff_latitude", "dropoff_longitude")
NAMES = ("payment_type", "company")
AREAS = ("pickup_community_area", "dropoff_community_area", "pickup_census_tract", "dropoff_census_tract")
PERIODS = ("trip_start_hour", "trip_start_day", "trip_start_month")

BUCKETS = 20
VOCABULARY = "categories"
VOCABULARY_SIZE = 1000
RARE = 50  # rows of a value that is not learned
PERIOD_SIZE = 24


def preprocessing_fn(inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """Raw trips to dense features.

    Returns:
        `numbers`, float32 `[batch, 4]`: logarithms, centred and scaled; `steps`, float32 `[batch, 4]`: how many steps
        between quantiles each has passed. Then int64 indices: `places` `[batch, 4]`, `categories` `[batch, 6]`,
        `periods` `[batch, 3]`.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    def stack(names: tuple[str, ...], missing: float | str) -> tf.Tensor:
        return tf.stack([fill_missing(inputs[name], missing) for name in names], axis=1)

    fare = fill_missing(inputs["fare"], 0)
    measured = [
        fill_missing(inputs["trip_miles"], 0),
        fare,
        tf.cast(fill_missing(inputs["trip_seconds"], 0), tf.float32),
        # Tips come in whole dollars, and a dollar is a fifth of five: how many it takes changes at each five dollars.
        fare % 5,
    ]
    numbers = tf.math.log1p(tf.nn.relu(tf.stack(measured, axis=1)))
    places = stack(PLACES, 0)
    quantiles = tft.quantiles(tf.concat([numbers, places], axis=1), BUCKETS, epsilon=0.005, reduce_instance_dims=False)
    of_numbers, of_places = quantiles[: len(measured)], quantiles[len(measured) :]
    low, middle, high = (of_numbers[:, i] for i in (0, BUCKETS // 2 - 1, -1))
    into_step = tf.math.divide_no_nan(
        numbers[:, :, tf.newaxis] - of_numbers[:, :-1], of_numbers[:, 1:] - of_numbers[:, :-1]
    )
    # A place that is missing is 0 and so falls into the first or the last bucket.
    passed = places[:, :, tf.newaxis] >= of_places
    categories = tf.concat([stack(NAMES, ""), tf.as_string(stack(AREAS, 0))], axis=1)
    return {
        "numbers": tf.math.divide_no_nan(numbers - middle, high - low),
        "steps": tf.reduce_sum(tf.clip_by_value(into_step, 0, 1), axis=2),
        "places": tf.reduce_sum(tf.cast(passed, tf.int64), axis=2),
        "categories": tft.compute_and_apply_vocabulary(
            tf.constant([f"{name}=" for name in (*NAMES, *AREAS)]) + categories,
            top_k=VOCABULARY_SIZE,
            frequency_threshold=RARE,
            num_oov_buckets=1,
            vocab_filename=VOCABULARY,
        ),
        "periods": tf.clip_by_value(stack(PERIODS, 0), 0, PERIOD_SIZE - 1),
    }
