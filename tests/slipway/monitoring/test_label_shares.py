"""Labels by feature where rows are few or other ones than in training."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from slipway.monitoring.counts import choose_cells, count, place
from slipway.monitoring.label_shares import compare_labels, count_jointly

FEATURE = pa.array(["Card", "Cash"] * 500)
LABEL = pa.array(np.random.default_rng(3).integers(0, 2, 1000))
CELLS, LABEL_CELLS = choose_cells(FEATURE), choose_cells(LABEL)
TRAINED = count_jointly(place(FEATURE, CELLS), CELLS, place(LABEL, LABEL_CELLS), LABEL_CELLS)


@pytest.mark.parametrize("asked", [["App"] * 400, ["Card", "Cash"]])
def test_a_feature_that_tells_nothing_is_left_out(asked: list[str]) -> None:
    """It must not stand among those by which labels did not move."""
    rows = {"payment": pa.chunked_array([asked]), "tip": pa.chunked_array([[0] * len(asked)])}
    found = compare_labels(rows, "tip", LABEL_CELLS, {"payment": count(FEATURE, CELLS)}, {"payment": TRAINED}, 0.02)
    assert found == []
