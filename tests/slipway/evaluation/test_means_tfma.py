"""TFMA's means where an engine merges the parts of several workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tensorflow_model_analysis.metrics.metric_types import StandardMetricInputs

from slipway.evaluation.tfma.means import AbsoluteError, LogLoss, SquaredError

PARTS = [[(1.0, 0.9), (0.0, 0.2), (1.0, 0.4)], [(0.0, 0.7)], [(1.0, 0.6), (0.0, 0.1)]]  # labels and predictions
LABELS, SCORES = np.array([pair for part in PARTS for pair in part]).T


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        (LogLoss, -np.log(np.where(LABELS == 1, SCORES, 1 - SCORES)).mean()),
        (AbsoluteError, np.abs(LABELS - SCORES).mean()),
        (SquaredError, np.square(LABELS - SCORES).mean()),
    ],
)
def test_each_part_counts_once(metric: Any, wanted: float) -> None:
    [computation] = metric(name="it").computations(model_names=[""], output_names=[""])
    combiner = computation.combiner
    accumulators = []
    for part in PARTS:
        accumulator = combiner.create_accumulator()
        for label, score in part:
            inputs = StandardMetricInputs(labels=np.array([label]), predictions=np.array([score]))
            accumulator = combiner.add_input(accumulator, inputs)
        accumulators.append(accumulator)
    [found] = combiner.extract_output(combiner.merge_accumulators(accumulators)).values()
    assert found == pytest.approx(wanted, rel=1e-6)
