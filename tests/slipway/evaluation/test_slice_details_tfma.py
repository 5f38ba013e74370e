"""TFMA's own numbers of the same rows: confusion matrices at thresholds, and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from slipway.evaluation.slice_details import describe_slices
from tests.judged_rows import measure

ROWS = 120  # each is drawn 20 times, one by one, in Beam
CONFIG = """
model_specs { label_key: "label" prediction_key: "score" }
slicing_specs {}
metrics_specs {
  metrics { class_name: "ConfusionMatrixAtThresholds" config: '{"thresholds": [0.3, 0.5]}' }
  metrics { class_name: "BinaryAccuracy" config: '{"name": "accuracy"}' }
}
options {
  compute_confidence_intervals { value: true }
  confidence_intervals { method: POISSON_BOOTSTRAP }
}
"""


@pytest.mark.slow
def test_matrices_and_intervals_are_those_of_tfma() -> None:
    import tensorflow_model_analysis as tfma
    from google.protobuf import text_format
    from tensorflow_model_analysis.proto import config_pb2

    random = np.random.default_rng(11)
    labels = (random.random(ROWS) < 0.4).astype(np.float32)
    scores = np.clip(random.normal(0.3 + 0.3 * labels, 0.2), 0, 1).astype(np.float32)
    config = text_format.Parse(CONFIG, config_pb2.EvalConfig())
    found = tfma.analyze_raw_data(pd.DataFrame({"label": labels, "score": scores}), config)

    details = describe_slices(*measure("binary", labels, scores, np.full(ROWS, "a")))
    for key, metrics in found.slicing_metrics:
        values = metrics[""][""]
        ours = next(one for one in details.slices if one.values == [value for _, value in key])
        matrices = values["confusion_matrix_at_thresholds"]["confusionMatrixAtThresholds"]["matrices"]
        for matrix in matrices:
            place = details.thresholds.index(round(matrix["threshold"], 6)) + 1
            (true_negatives, false_positives), (false_negatives, true_positives) = (
                (sum(counts[:place]), sum(counts[place:])) for counts in ours.scores
            )
            names = ("trueNegatives", "falsePositives", "falseNegatives", "truePositives")
            assert [matrix[name] for name in names] == pytest.approx(
                [true_negatives, false_positives, false_negatives, true_positives], abs=1e-6
            )
        bounded = values["accuracy"]["boundedValue"]
        low, high = ours.intervals["accuracy"]
        assert bounded["value"] == pytest.approx((low + high) / 2, abs=1e-5)
        theirs = bounded["upperBound"] - bounded["lowerBound"]
        assert high - low == pytest.approx(theirs, rel=0.6)  # each is the spread of 20 random samples
