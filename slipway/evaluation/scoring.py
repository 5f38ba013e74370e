"""Predicts the eval split with the candidate and the models that it is compared with; the default engine, in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.examples.dataset import open_split
from slipway.data.labels import encode_labels
from slipway.data.tensors import raw_inputs
from slipway.data.weights import read_weights
from slipway.errors import DataError, GateError
from slipway.evaluation.merging import MergedTables
from slipway.evaluation.metric import BASELINE, CANDIDATE, EXAMPLE_COUNT
from slipway.evaluation.metrics import compute_metrics, invalid_predictions
from slipway.evaluation.slices import Measured, MetricTable, check_columns, slice_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.evaluation.config import EvaluationConfig

    LoadPredictor = Callable[[str], "Predictor"]  # of the path of a SavedModel; it can be pickled, for Beam

BATCH_ROWS = 16_384
KEPT_ROWS = 2_000_000  # for curves and comparisons between models: about a gigabyte
SEED = 23


class Predictor(Protocol):
    """A loaded model. Serving has the implementation, so evaluate_model hands it in."""

    def inputs(self, signature: str) -> dict[str, Any]:
        """Inputs of a signature by name."""

    def predict(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Predictions of the signature `raw`; raises GateError where it cannot."""


@dataclass(frozen=True)
class EvalRows:
    """Reads the labelled rows of the eval split, with the columns that an evaluation needs."""

    config: EvaluationConfig
    features: Sequence[schema_pb2.Feature]

    def unlabelled(self, examples_path: str) -> int:
        """The rows of the eval split without a label."""
        import pyarrow.dataset as ds

        return int(
            open_split(examples_path, "eval").count_rows(
                filter=ds.field(self.config.label.column).is_null(nan_is_null=True)
            )
        )

    def batches(self, examples_path: str) -> Iterator[pa.Table]:
        """Batches that are not empty.

        Raises:
            ConfigError: a slice column cannot be sliced on.
            DataError: no row has a label.
        """
        split = open_split(examples_path, "eval")
        check_columns(self.config.slice_columns, split.schema)
        found = False
        columns = self.columns(split.schema)
        # Little read-ahead: a batch is predicted far more slowly than it is read.
        for batch in split.to_batches(columns, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1):
            rows = self.labelled(batch)
            if rows.num_rows:
                found = True
                yield rows
        if not found:
            counted = f" and a {self.config.label.weight} above 0" if self.config.label.weight else ""
            raise DataError(
                f"{examples_path}: no row of the eval split has a label{counted}; there is nothing to evaluate on"
            )

    def columns(self, schema: pa.Schema) -> list[str]:
        """The features that the data has, the label and the slice columns."""
        there = set(schema.names)
        present = [feature.name for feature in self.features if feature.name in there]
        return list(dict.fromkeys([*present, *self.kept]))

    @property
    def kept(self) -> list[str]:
        """The columns that are needed after the prediction."""
        weight = self.config.label.weight
        return list(
            dict.fromkeys([self.config.label.column, *([weight] if weight else []), *self.config.slice_columns])
        )

    def labelled(self, batch: pa.RecordBatch) -> pa.Table:
        """The rows whose label is neither null nor NaN, and whose weight is above 0; DataError if one has no weight."""
        rows = pa.Table.from_batches([batch])
        rows = rows.filter(pc.invert(pc.is_null(rows[self.config.label.column], nan_is_null=True)))
        weights = self.weights(rows)
        return rows if weights is None else rows.filter(pa.array(weights > 0))

    def weights(self, rows: pa.Table) -> NDArray[np.float64] | None:
        """The weights of rows; None if they count alike."""
        name = self.config.label.weight
        return None if name is None else read_weights(rows[name], name)

    def labels(self, rows: pa.Table) -> NDArray[Any]:
        """Labels as `encode_labels` gives them."""
        return encode_labels(rows[self.config.label.column], self.config.task, self.config.class_names)


class Scorer:
    """One model, which must take the schema's features and answer in the shape of its task; else raises GateError."""

    def __init__(self, load: LoadPredictor, path: str, rows: EvalRows) -> None:
        self._predictor = load(path)
        self._width = (len(rows.config.class_names),) if rows.config.task == "multiclass" else ()
        unknown = sorted(self._predictor.inputs("raw").keys() - {feature.name for feature in rows.features})
        if unknown:
            raise GateError(f"it needs {', '.join(unknown)}, which the schema does not have")

    def predict(self, inputs: dict[str, NDArray[Any]], rows: int) -> NDArray[np.float32]:
        """Predictions of one batch: `[rows]` or `[rows, K]`."""
        try:
            predictions = self._predictor.predict(inputs)
        except GateError as error:
            raise GateError(f"it cannot take the rows of the eval split: {error}") from error
        shape = (rows, *self._width)
        if predictions.shape != shape:
            raise GateError(f"its predictions have the shape {list(predictions.shape)}, not {list(shape)}")
        return predictions.astype(np.float32, copy=False)


class Models:
    """The candidate, and the other models as long as they can be scored.

    `problems` says why one cannot; the gate decides what that means. A model without a path was deleted. A candidate
    that cannot be loaded raises GateError.
    """

    def __init__(self, load: LoadPredictor, paths: Mapping[str, str], rows: EvalRows) -> None:
        self.problems: dict[str, str] = {}
        self._paths, self._rows = paths, rows
        self._scorers: dict[str, Scorer] = {}
        for name, path in paths.items():
            with self._checked(name):
                if not path:
                    raise GateError("its files were deleted")
                self._scorers[name] = Scorer(load, path, rows)

    @property
    def paths(self) -> dict[str, str]:
        """Paths of the models that could be scored so far."""
        return {name: self._paths[name] for name in self._scorers}

    def predict(self, rows: pa.Table) -> dict[str, NDArray[np.float32]]:
        """Predictions of one batch by model; raises GateError where the candidate cannot be scored."""
        inputs, predictions = raw_inputs(rows, self._rows.features), {}
        for name, scorer in list(self._scorers.items()):
            with self._checked(name):
                predictions[name] = scorer.predict(inputs, rows.num_rows)
        return predictions

    @contextmanager
    def _checked(self, name: str) -> Iterator[None]:
        try:
            yield
        except GateError as error:
            if name == CANDIDATE:
                raise GateError(f"the candidate {self._paths[name]} cannot be scored: {error}") from error
            self.problems[name] = str(error)
            self._scorers.pop(name, None)


def measure_in_memory(examples_path: str, rows: EvalRows, load: LoadPredictor, paths: Mapping[str, str]) -> Measured:
    """Streams the eval split through the models of `paths`, and computes the metrics of all slices by NumPy.

    Of more than `KEPT_ROWS` rows the tables count all, and memory holds so many, drawn at random.

    Raises:
        DataError: the eval split has no labelled rows.
        GateError: the candidate cannot be loaded or scored.
    """
    models, task = Models(load, paths, rows), rows.config.task
    share = KEPT_ROWS / max(open_split(examples_path, "eval").count_rows(), 1)
    random, specs = np.random.default_rng(SEED), [(), *rows.config.slice_specs]
    kept, predicted = [], []
    with TemporaryDirectory(prefix="slipway-evaluation-") as folder:
        merged = MergedTables(task, folder) if share < 1 else None
        for batch in rows.batches(examples_path):
            answers = models.predict(batch)
            if merged:
                merged.add(rows.labels(batch), _judged(answers), slice_rows(batch, specs), rows.weights(batch))
                chosen = np.flatnonzero(random.random(batch.num_rows) < share)
                batch, answers = batch.take(chosen), {name: one[chosen] for name, one in answers.items()}
            predicted.append(answers)
            kept.append(batch.select(rows.kept))
        table = pa.concat_tables(kept)
        labels, weights, slicings = rows.labels(table), rows.weights(table), slice_rows(table, specs)
        answers = {name: np.concatenate([batch[name] for batch in predicted]) for name in models.paths}
        judged = _judged(answers)
        if merged:
            tables, invalid = merged.tables(list(judged)), {name: merged.invalid[name] for name in judged}
        else:
            metrics = {name: compute_metrics(task, labels, one, slicings, weights) for name, one in judged.items()}
            tables = [
                MetricTable(slicing.columns, slicing.values, ours[EXAMPLE_COUNT].astype(int), ours, theirs)
                for slicing, ours, theirs in zip_longest(slicings, metrics[CANDIDATE], metrics.get(BASELINE, []))
            ]
            invalid = {name: int(invalid_predictions(task, one).sum()) for name, one in judged.items()}
    return Measured(
        tables=tables,
        labels=labels,
        answers=answers,
        slicings=slicings,
        invalid=invalid,
        unlabelled=rows.unlabelled(examples_path),
        problems=models.problems,
        sampled=merged is not None,
        weights=weights,
    )


def _judged(answers: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Those of the models whose metrics are in the tables."""
    return {name: one for name, one in answers.items() if name in (CANDIDATE, BASELINE)}
