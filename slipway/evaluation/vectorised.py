"""The default engine: all predictions in memory, all metrics of all slices by NumPy."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from slipway.data.examples.dataset import open_split
from slipway.evaluation.metric import BASELINE, CANDIDATE, EXAMPLE_COUNT
from slipway.evaluation.metrics import compute_metrics, invalid_predictions
from slipway.evaluation.scoring import Models
from slipway.evaluation.slices import slice_rows
from slipway.evaluation.tables import Measured, MetricTable, Predictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.evaluation.scoring import EvalRows, LoadPredictor


def measure_in_memory(examples_path: str, rows: EvalRows, load: LoadPredictor, paths: Mapping[str, str]) -> Measured:
    """Streams the eval split through the models of `paths`, and computes the metrics.

    Raises:
        DataError: the eval split has no labelled rows.
        GateError: the candidate cannot be loaded or scored.
    """
    models, task = Models(load, paths, rows), rows.config.task
    kept, predicted = [], []
    for batch in rows.batches(examples_path):
        predicted.append(models.predict(batch))
        kept.append(batch.select(rows.kept))
    table = pa.concat_tables(kept)
    labels = rows.labels(table)
    answers = {name: np.concatenate([batch[name] for batch in predicted]) for name in models.paths}
    slicings = slice_rows(table, [(), *rows.config.slice_specs])
    metrics = {name: compute_metrics(task, labels, one, slicings) for name, one in answers.items()}
    invalid = {name: int(invalid_predictions(task, one).sum()) for name, one in answers.items()}
    return Measured(
        tables=[
            MetricTable(slicing.columns, slicing.values, ours[EXAMPLE_COUNT].astype(int), ours, theirs)
            for slicing, ours, theirs in zip_longest(slicings, metrics[CANDIDATE], metrics.get(BASELINE, []))
        ],
        predictions=Predictions(invalid[CANDIDATE], invalid.get(BASELINE, 0), models.baseline_problem),
        labels=labels,
        answers=answers,
        unlabelled=open_split(examples_path, "eval").count_rows() - table.num_rows,
    )
