"""Reads numbers that are written with a unit, for `preprocessing_fn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.module_api import fill_missing

if TYPE_CHECKING:
    import tensorflow as tf

# Python and TensorFlow (RE2) read it alike; it is of texts in lower case.
_NUMBER = "[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:[.][0-9]+)?"
QUANTITY = rf"^\s*([$€£¥₹]|usd|eur|gbp|chf|jpy|inr|rs[.]?)?\s*({_NUMBER})\s*([^0-9\s.,+-][^0-9]*)?$"


def read_quantity(feature: tf.SparseTensor | tf.Tensor) -> tf.Tensor:
    """The number in `12 kg`, `$1,234.50` or `45%`, float64 `[batch]`; NaN where there is none."""
    import tensorflow as tf

    text = tf.strings.lower(fill_missing(feature, ""))
    number = tf.strings.regex_replace(tf.strings.regex_replace(text, QUANTITY, r"\2"), ",", "")
    fits = tf.strings.regex_full_match(text, QUANTITY)
    return tf.strings.to_number(tf.where(fits, number, tf.constant("nan")), tf.float64)
