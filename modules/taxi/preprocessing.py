"""Taxi features: what is known when the meter stops, before the tip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf

NUMBERS = ("trip_miles", "fare", "trip_seconds")
PLACES = ("pickup_latitude", "pickup_longitude", "dropoff_latitude", "dropoff_longitude")
VOCABULARIES = (
    "payment_type",
    "company",
    "pickup_community_area",
    "dropoff_community_area",
    "pickup_census_tract",
    "dropoff_census_tract",
)
PERIODS = {"trip_start_hour": 24, "trip_start_day": 8, "trip_start_month": 13}


def preprocessing_fn(inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    import tensorflow as tf
    import tensorflow_transform as tft

    numbers = tf.stack(
        [tf.math.log1p(tf.maximum(tf.cast(fill_missing(inputs[name], 0), tf.float32), 0.0)) for name in NUMBERS],
        axis=1,
    )
    outputs = {"numbers": tft.scale_to_z_score(numbers, elementwise=True)}
    for name in PLACES:
        outputs[name] = tft.bucketize(fill_missing(inputs[name], 0.0), 10)
    for name in VOCABULARIES:
        value = inputs[name]
        token = tf.strings.as_string(value.values) if value.dtype == tf.int64 else value.values
        value = tf.SparseTensor(value.indices, token, value.dense_shape)
        outputs[name] = tft.compute_and_apply_vocabulary(
            fill_missing(value, "missing"), top_k=1000, num_oov_buckets=1, vocab_filename=name
        )
    for name in PERIODS:
        outputs[name] = fill_missing(inputs[name], 0)
    return outputs
