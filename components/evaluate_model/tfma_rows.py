"""What Beam's workers do for the TFMA engine: from a row group of the eval split to the columns that TFMA takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np

from components.evaluate_model.scoring import Scorer, labelled, wanted_columns
from components.evaluate_model.tfma_readback import INVALID, LABEL, RIGHT, SPREAD, WITHIN
from slipway.data.labels import encode_labels
from slipway.data.tensors import raw_inputs
from slipway.evaluation.metrics import EPSILON, invalid_predictions
from slipway.evaluation.results import MISSING
from slipway.evaluation.slices import encode_column
from slipway.evaluation.tfma.config import prediction_key
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from slipway.evaluation.config import EvaluationConfig

BATCH_ROWS = 4_096
SAMPLE, KEY = "sample", "__key"


@dataclass
class Score(beam.DoFn):  # type: ignore[misc]
    """From a row group to the columns that TFMA takes, and labels and predictions with a random key, to sample by."""

    config: EvaluationConfig
    features: list[bytes]
    models: dict[str, str]
    centre: float

    def setup(self) -> None:
        """Loads the models, once a worker."""
        from tensorflow_metadata.proto.v0 import schema_pb2

        self._features = [schema_pb2.Feature.FromString(feature) for feature in self.features]
        self._scorers = {name: Scorer(path, self.config, self._features) for name, path in self.models.items()}

    def process(self, group: tuple[str, int]) -> Iterator[Any]:
        """Streams one row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, index = group
        random = np.random.default_rng([index, *path.encode()])
        with storage.open_read(path) as stream:
            file = pq.ParquetFile(stream)
            columns = wanted_columns(file.schema_arrow, self.config, self._features)
            for batch in file.iter_batches(BATCH_ROWS, [index], columns):
                rows = labelled(pa.Table.from_batches([batch]), self.config)
                if rows.num_rows:
                    labels, predictions = self._answers(rows)
                    yield self._columns(rows, labels, predictions)
                    keys = random.random(rows.num_rows)
                    yield beam.pvalue.TaggedOutput(SAMPLE, {KEY: keys, LABEL: labels, **predictions})

    def _answers(self, rows: pa.Table) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
        inputs = raw_inputs(rows, self._features)
        labels = encode_labels(rows[self.config.label.column], self.config.task, self.config.class_names)
        return labels, {name: scorer.predict(inputs, rows.num_rows) for name, scorer in self._scorers.items()}

    def _columns(
        self, rows: pa.Table, labels: NDArray[Any], predictions: dict[str, NDArray[np.float32]]
    ) -> pa.RecordBatch:
        """Label and predictions as numbers, slice columns as text; and what TFMA has no metric for, to take means of.

        An invalid prediction, on which TFMA would fail, is replaced and counted; probabilities are clipped as in
        `slipway.evaluation.metrics`, since TFMA's log loss does not.
        """
        import pyarrow as pa

        task = self.config.task
        columns: dict[str, Any] = {self.config.label.column: labels}
        for name, values in predictions.items():
            invalid = invalid_predictions(task, values)
            clean = np.where(invalid.reshape(-1, *[1] * (values.ndim - 1)), 0, values)
            columns[f"{INVALID}{name}"] = invalid.astype(np.float32)
            columns[prediction_key(name)] = clean if task == "regression" else np.clip(clean, EPSILON, 1 - EPSILON)
            if task == "multiclass":
                columns[f"{RIGHT}{name}"] = (clean.argmax(axis=1) == labels).astype(np.float32)
        if task == "regression":
            columns[SPREAD] = (labels.astype(np.float64) - self.centre) ** 2
        if task == "multiclass":
            columns |= {f"{WITHIN}{k}": (labels == k).astype(np.float32) for k in range(len(self.config.class_names))}
        arrays = {name: _as_lists(values) for name, values in columns.items()}
        for name in {name for spec in self.config.slice_specs for name in spec}:
            codes, texts = encode_column(rows, name)
            spelled = np.array([MISSING if text is None else text for text in texts], dtype=object)
            arrays[name] = _as_lists(spelled[codes])
        return pa.RecordBatch.from_pydict(arrays)


def _as_lists(values: NDArray[Any]) -> pa.Array:
    """A list column, as TFMA takes them: one list a row."""
    import pyarrow as pa

    width = values.shape[1] if values.ndim > 1 else 1
    flat = pa.array(values.reshape(-1), pa.binary() if values.dtype == object else None)
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, width), pa.int32()), flat)
