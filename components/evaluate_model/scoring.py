"""Predicts the eval split once, with every model that is to be judged."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.predictor import Predictor
from slipway.data.examples.dataset import open_split
from slipway.data.labels import encode_labels
from slipway.data.schema.io import model_inputs
from slipway.data.tensors import raw_inputs
from slipway.errors import DataError, GateError
from slipway.evaluation.slices import check_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.evaluation.config import EvaluationConfig

BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Scored:
    """Rows of the eval split that have a label, with the predictions of both models: `[N]` or `[N, K]` float32."""

    labels: NDArray[Any]
    slice_columns: pa.Table
    candidate: NDArray[np.float32]
    baseline: NDArray[np.float32] | None
    baseline_problem: str | None
    unlabelled: int


class Scorer:
    """One model, with the shape of answers that its task asks for."""

    def __init__(
        self, model_path: str | Path, config: EvaluationConfig, features: Sequence[schema_pb2.Feature]
    ) -> None:
        self._predictor = Predictor(model_path)
        self._width = (len(config.class_names),) if config.task == "multiclass" else ()
        unknown = sorted(self._predictor.inputs("raw").keys() - {feature.name for feature in features})
        if unknown:
            raise GateError(f"it needs {', '.join(unknown)}, which the schema does not have")

    def predict(self, inputs: dict[str, NDArray[Any]], rows: int) -> NDArray[np.float32]:
        """Predictions of one batch.

        Raises:
            GateError: the model cannot take these inputs, or answers another shape than its task's.
        """
        try:
            predictions = self._predictor.predict(inputs)
        except GateError as error:
            raise GateError(f"it cannot take the rows of the eval split: {error}") from error
        if predictions.shape != (rows, *self._width):
            wanted = f"[{rows}, {self._width[0]}]" if self._width else f"[{rows}]"
            raise GateError(f"its predictions have the shape {list(predictions.shape)}, not {wanted}")
        return predictions.astype(np.float32, copy=False)


def score(
    examples_path: str, schema: schema_pb2.Schema, config: EvaluationConfig, model_path: str, baseline_path: str | None
) -> Scored:
    """Streams the eval split through the candidate and the baseline.

    A baseline that cannot be loaded or scored does not raise: the problem is in the result, for the gate.

    Raises:
        DataError: the eval split has no labelled rows.
        GateError: the candidate cannot be loaded or scored.
    """
    import pyarrow as pa

    features = model_inputs(schema)
    with naming_candidate(model_path):
        candidate = Scorer(model_path, config, features)
    baseline, problem = load_baseline(baseline_path, config, features)
    answers: dict[str, list[NDArray[np.float32]]] = {"candidate": [], "baseline": []}
    kept = []
    for rows in labelled_batches(examples_path, config, features):
        inputs = raw_inputs(rows, features)
        with naming_candidate(model_path):
            answers["candidate"].append(candidate.predict(inputs, rows.num_rows))
        if baseline:
            try:
                answers["baseline"].append(baseline.predict(inputs, rows.num_rows))
            except GateError as error:
                baseline, problem = None, str(error)
        kept.append(rows.select(_kept_columns(config)))
    if not kept:
        raise DataError(f"{examples_path}: no row of the eval split has a label; there is nothing to evaluate on")
    table = pa.concat_tables(kept)
    return Scored(
        labels=encode_labels(table[config.label.column], config.task, config.class_names),
        slice_columns=table,
        candidate=np.concatenate(answers["candidate"]),
        baseline=np.concatenate(answers["baseline"]) if baseline else None,
        baseline_problem=problem,
        unlabelled=open_split(examples_path, "eval").count_rows() - table.num_rows,
    )


def labelled_batches(
    examples_path: str, config: EvaluationConfig, features: Sequence[schema_pb2.Feature]
) -> Iterator[pa.Table]:
    """Rows of the eval split that have a label, in batches that are not empty."""
    import pyarrow as pa

    split = open_split(examples_path, "eval")
    check_columns((name for spec in config.slice_specs for name in spec), split.schema)
    columns = wanted_columns(split.schema, config, features)
    # Little read-ahead: a batch is predicted far more slowly than it is read.
    for batch in split.to_batches(columns=columns, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1):
        rows = labelled(pa.Table.from_batches([batch]), config)
        if rows.num_rows:
            yield rows


def labelled(rows: pa.Table, config: EvaluationConfig) -> pa.Table:
    """The rows whose label is neither null nor NaN."""
    import pyarrow.compute as pc

    return rows.filter(pc.invert(pc.is_null(rows[config.label.column], nan_is_null=True)))


def wanted_columns(schema: pa.Schema, config: EvaluationConfig, features: Sequence[schema_pb2.Feature]) -> list[str]:
    """Columns that an evaluation reads: the features that the data has, the label and the slices."""
    present = [feature.name for feature in features if feature.name in schema.names]
    return list(dict.fromkeys([*present, *_kept_columns(config)]))


def _kept_columns(config: EvaluationConfig) -> list[str]:
    return list(dict.fromkeys([config.label.column, *(name for spec in config.slice_specs for name in spec)]))


@contextmanager
def naming_candidate(path: str) -> Iterator[None]:
    """Says whose a problem is: unlike production's, the candidate's stops the evaluation."""
    try:
        yield
    except GateError as error:
        raise GateError(f"the candidate {path} cannot be scored: {error}") from error


def load_baseline(
    path: str | None, config: EvaluationConfig, features: Sequence[schema_pb2.Feature]
) -> tuple[Scorer | None, str | None]:
    """The production model, or what is wrong with it; neither if there is none."""
    if path is None:
        return None, None
    try:
        return Scorer(path, config, features), None
    except GateError as error:
        return None, str(error)
