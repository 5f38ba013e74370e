"""The work of Beam's workers: from a row group of the eval split to the columns that TFMA takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slipway.evaluation.metrics import EPSILON, invalid_predictions, without_invalid
from slipway.evaluation.results import MISSING
from slipway.evaluation.scoring import Scorer
from slipway.evaluation.slices import encode_column
from slipway.evaluation.tfma.config import prediction_key
from slipway.evaluation.tfma.readback import INVALID, LABEL, RIGHT, SPREAD, WITHIN
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from slipway.evaluation.scoring import EvalRows, LoadPredictor

BATCH_ROWS = 4_096
SAMPLE, KEY = "sample", "__key"


@dataclass
class Score(beam.DoFn):  # type: ignore[misc]
    """From a row group to TFMA's columns, and to labels and predictions with a random key for sampling."""

    rows: EvalRows
    load: LoadPredictor
    models: dict[str, str]
    centre: float

    def setup(self) -> None:
        """Loads the models, once a worker."""
        self._scorers = {name: Scorer(self.load, path, self.rows) for name, path in self.models.items()}

    def process(self, group: tuple[str, int]) -> Iterator[Any]:
        """Streams one row group."""
        path, index = group
        random = np.random.default_rng([index, *path.encode()])
        with storage.open_read(path) as stream:
            file = pq.ParquetFile(stream)
            for batch in file.iter_batches(BATCH_ROWS, [index], self.rows.columns(file.schema_arrow)):
                rows = self.rows.labelled(batch)
                if rows.num_rows:
                    labels, inputs = self.rows.labels(rows), self.rows.inputs(rows)
                    answers = {name: one.predict(inputs, rows.num_rows) for name, one in self._scorers.items()}
                    yield self._columns(rows, labels, answers)
                    keys = random.random(rows.num_rows)
                    yield beam.pvalue.TaggedOutput(SAMPLE, {KEY: keys, LABEL: labels, **answers})

    def _columns(
        self, rows: pa.Table, labels: NDArray[Any], predictions: dict[str, NDArray[np.float32]]
    ) -> pa.RecordBatch:
        """Label and predictions as numbers, slice columns as text, and the columns whose means `readback` needs.

        TFMA fails on an invalid prediction, so it is replaced and counted. Probabilities are clipped as in
        `slipway.evaluation.metrics`, since TFMA's log loss does not clip.
        """
        config = self.rows.config
        columns: dict[str, Any] = {config.label.column: labels}
        for name, values in predictions.items():
            invalid = invalid_predictions(config.task, values)
            clean = without_invalid(values, invalid)
            columns[f"{INVALID}{name}"] = invalid.astype(np.float32)
            regression = config.task == "regression"
            columns[prediction_key(name)] = clean if regression else np.clip(clean, EPSILON, 1 - EPSILON)
            if config.task == "multiclass":
                columns[f"{RIGHT}{name}"] = (clean.argmax(axis=1) == labels).astype(np.float32)
        if config.task == "regression":
            columns[SPREAD] = (labels.astype(np.float64) - self.centre) ** 2
        if config.task == "multiclass":
            columns |= {f"{WITHIN}{k}": (labels == k).astype(np.float32) for k in range(len(config.class_names))}
        arrays = {name: _as_lists(values) for name, values in columns.items()}
        for name in config.slice_columns:
            codes, texts = encode_column(rows, name)
            spelled = np.array([MISSING if text is None else text for text in texts], dtype=object)
            arrays[name] = _as_lists(spelled[codes])
        return pa.RecordBatch.from_pydict(arrays)


def _as_lists(values: NDArray[Any]) -> pa.Array:
    """A list column, as TFMA takes them: one list a row."""
    width = values.shape[1] if values.ndim > 1 else 1
    flat = pa.array(values.reshape(-1), pa.binary() if values.dtype == object else None)
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, width), pa.int32()), flat)
