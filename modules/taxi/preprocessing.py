"""Taxi features: what is known when the meter stops, before the tip.

TensorFlow Transform's time on small data goes by the number of analyzers, not of columns. So numbers of one kind are
stacked and analysed together, and all categories share one vocabulary, as `column=value`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf

NUMBERS = ("trip_miles", "fare", "trip_seconds")
PLACES = ("pickup_latitude", "pickup_longitude", "dropoff_latitude", "dropoff_longitude")
CATEGORIES = (
    "payment_type",
    "company",
    "pickup_community_area",
    "dropoff_community_area",
    "pickup_census_tract",
    "dropoff_census_tract",
)
PERIODS = {"trip_start_hour": 24, "trip_start_day": 8, "trip_start_month": 13}
PLACE_BUCKETS = 10
FARE_STEPS = 101
VOCABULARY = "categories"
VOCABULARY_SIZE = 1000


def preprocessing_fn(inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """Raw trips to dense features: `numbers` float, the others category numbers."""
    import tensorflow as tf
    import tensorflow_transform as tft

    filled = {name: fill_missing(inputs[name], 0) for name in (*NUMBERS, *PLACES, *PERIODS)}
    numbers = tf.stack([tf.cast(filled[name], tf.float32) for name in NUMBERS], axis=1)
    places = tf.stack([filled[name] for name in PLACES], axis=1)
    boundaries = tft.quantiles(places, PLACE_BUCKETS, epsilon=0.01, reduce_instance_dims=False)
    return {
        "numbers": tft.scale_to_z_score(tf.math.log1p(tf.nn.relu(numbers)), elementwise=True),
        "fare_step": tf.cast(tf.clip_by_value(filled["fare"] * 2, 0, FARE_STEPS - 1), tf.int64),
        "places": tf.stack(
            [tft.apply_buckets(places[:, i], boundaries[i : i + 1]) for i in range(len(PLACES))], axis=1
        ),
        "categories": tft.compute_and_apply_vocabulary(
            tf.stack([_token(name, inputs[name]) for name in CATEGORIES], axis=1),
            top_k=VOCABULARY_SIZE,
            num_oov_buckets=1,
            vocab_filename=VOCABULARY,
        ),
        "periods": tf.stack([filled[name] for name in PERIODS], axis=1),
    }


def _token(name: str, feature: tf.SparseTensor) -> tf.Tensor:
    import tensorflow as tf

    values = tf.as_string(feature.values) if feature.dtype != tf.string else feature.values
    return fill_missing(feature.with_values(tf.strings.join([name, "=", values])), f"{name}=")
