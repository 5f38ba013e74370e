"""Numbers with a unit."""

from __future__ import annotations

import math

from slipway.module_parts.quantities import read_quantity


def test_read_quantity_takes_the_number_out_of_its_text() -> None:
    import tensorflow as tf

    texts = ["12 kg", "$1,234.50", "45%", "-3.5 °C", "CHF 7", "1,2,3 kg", "many", ""]
    numbers = read_quantity(tf.constant(texts)).numpy().tolist()
    assert numbers[:5] == [12, 1234.5, 45, -3.5, 7]
    assert all(math.isnan(number) for number in numbers[5:])
