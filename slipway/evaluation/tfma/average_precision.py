"""scikit-learn's average precision as a metric of TFMA, whose own area under precision and recall interpolates.

TFMA imports this module by the name in `EvalConfig`; nothing else does, since it imports TFMA.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.metrics.confusion_matrix_metrics import ConfusionMatrixMetricBase


class AveragePrecision(ConfusionMatrixMetricBase):  # type: ignore[misc]
    """Sum of (R_n - R_n-1) P_n over TFMA's 10,000 thresholds."""

    def _default_name(self) -> str:
        return "average_precision"

    def _metric_value(self, key: metric_types.MetricKey, matrices: Any) -> float:
        """One number from confusion matrices by rising threshold; NaN without positives."""
        hits, alarms, misses = np.array(matrices.tp), np.array(matrices.fp), np.array(matrices.fn)
        if not hits[0] + misses[0]:
            return float("nan")
        chosen = hits + alarms
        precision = np.divide(hits, chosen, out=np.zeros_like(hits), where=chosen != 0)
        recall = hits / (hits + misses)
        return float(((recall - np.append(recall[1:], 0)) * precision).sum())


metric_types.register_metric(AveragePrecision)
