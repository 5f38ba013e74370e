"""TFMA's means of losses and errors, with merges that count each part once.

TFMA 0.52 merges accumulators by `result = next(iter(accumulators))` and a loop over all of them
(`metrics/cross_entropy_metrics.py`, `metrics/mean_regression_error.py`): where an engine hands it a list, as Flink
does, the first part counts twice. TFMA imports this module by the name in `EvalConfig`; nothing else does, since it
imports TFMA.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.metrics.cross_entropy_metrics import BinaryCrossEntropy
from tensorflow_model_analysis.metrics.mean_regression_error import MeanAbsoluteError, MeanSquaredError


class _MergedOnce(beam.CombineFn):  # type: ignore[misc]
    def __init__(self, combiner: Any) -> None:
        self._combiner = combiner

    def create_accumulator(self) -> Any:
        return self._combiner.create_accumulator()

    def add_input(self, accumulator: Any, element: Any) -> Any:
        return self._combiner.add_input(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return self._combiner.merge_accumulators(iter(accumulators))

    def extract_output(self, accumulator: Any) -> Any:
        return self._combiner.extract_output(accumulator)


class _Mean(metric_types.Metric):  # type: ignore[misc]
    def computations(self, *arguments: Any, **options: Any) -> Any:
        """Those of TFMA with another merge."""
        found = super().computations(*arguments, **options)
        return [one._replace(combiner=_MergedOnce(one.combiner)) for one in found]


class LogLoss(_Mean, BinaryCrossEntropy):  # type: ignore[misc]
    """Mean binary cross entropy."""


class AbsoluteError(_Mean, MeanAbsoluteError):  # type: ignore[misc]
    """Mean absolute error."""


class SquaredError(_Mean, MeanSquaredError):  # type: ignore[misc]
    """Mean squared error."""


for metric in (LogLoss, AbsoluteError, SquaredError):
    metric_types.register_metric(metric)
