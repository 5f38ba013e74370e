"""Features of the first run: how far, how much, and how it was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf


def preprocessing_fn(inputs: dict[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """Raw trips to `miles` and `fare`, scaled, and `payment`, an index; each is `[batch]`."""
    import tensorflow_transform as tft

    return {
        "miles": tft.scale_to_z_score(fill_missing(inputs["trip_miles"], 0.0)),
        "fare": tft.scale_to_z_score(fill_missing(inputs["fare"], 0.0)),
        "payment": tft.compute_and_apply_vocabulary(fill_missing(inputs["payment_type"], ""), num_oov_buckets=1),
    }
