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


def test_the_cell_that_is_named_has_rows_that_moved_and_not_one_row_by_chance() -> None:
    feature = pa.array(["Card"] * 500 + ["Cash"] * 490 + ["App"] * 10)
    label = pa.array([0, 1] * 500)
    cells, label_cells = choose_cells(feature), choose_cells(label)
    trained = count_jointly(place(feature, cells), cells, place(label, label_cells), label_cells)
    rows = {
        "payment": pa.chunked_array([["Card"] * 200 + ["Cash"] * 200 + ["App"]]),
        "tip": pa.chunked_array([[0] * 160 + [1] * 40 + [0, 1] * 100 + [1]]),
    }
    [found] = compare_labels(rows, "tip", label_cells, {"payment": count(feature, cells)}, {"payment": trained}, 0.02)
    assert found.said == "1 where payment is Card: 50 % in training, 20 % now"
