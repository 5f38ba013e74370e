import math
from typing import Any

import pytest

from serving.rollout.canary_check import difference


@pytest.mark.parametrize(
    ("found", "wanted", "apart"),
    [
        ([0.5, 0.25], [0.5, 0.25], 0.0),
        ([[0.1, 0.9]], [[0.1, 0.8]], 0.1),
        ([1000.0], [1001.0], 1 / 1001),
        ([1], [1.0], 0.0),
        ([0.5], [0.5, 0.5], math.inf),
        ([[0.5]], [0.5], math.inf),
        (["0.5"], [0.5], math.inf),
        ([True], [1.0], math.inf),
        ([math.nan], [0.5], math.inf),
        (None, [0.5], math.inf),
        ({"a": [0.5]}, [0.5], math.inf),
    ],
)
def test_difference_is_relative_above_one_and_infinite_for_what_is_no_number(
    found: Any, wanted: Any, apart: float
) -> None:
    assert difference(found, wanted) == pytest.approx(apart)
