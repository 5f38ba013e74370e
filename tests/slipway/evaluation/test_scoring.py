"""Scoring with predictors that are handed in, as evaluate_model hands in that of serving."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from serving.predictor import Predictor
from slipway.data.examples.dataset import MANIFEST
from slipway.errors import DataError, GateError
from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.scoring import EvalRows, Models, measure_in_memory
from tests.asked import Asked


class Doubled:
    """Predicts twice its input; the path says what is wrong with it."""

    def __init__(self, path: str) -> None:
        if path == "no model":
            raise GateError("there is no model")
        self.path = path

    def inputs(self, signature: str) -> dict[str, Any]:
        assert signature == "raw"
        return {"x": None, "tip": None} if self.path == "other input" else {"x": None}

    def predict(self, inputs: dict[str, Any]) -> Any:
        if self.path == "fails":
            raise GateError("it is broken")
        answers = 2 * inputs["x"]
        return answers[:, None] if self.path == "other shape" else answers


@pytest.fixture
def rows() -> EvalRows:
    config = EvaluationConfig.model_validate({"task": "regression", "label": {"column": "y"}})
    return EvalRows(config, [schema_pb2.Feature(name="x", type=schema_pb2.FLOAT)])


def write_examples(folder: Path, labels: list[float | None]) -> str:
    split = folder / "split=eval"
    split.mkdir()
    pq.write_table(pa.table({"x": np.arange(len(labels), dtype=float), "y": pa.array(labels)}), split / "a.parquet")
    (folder / MANIFEST).touch()
    return str(folder)


def test_measure_predicts_the_labelled_rows_with_both_models(rows: EvalRows, tmp_path: Path) -> None:
    examples = write_examples(tmp_path, [0.0, None, 4.0, float("nan")])
    found = measure_in_memory(examples, rows, Doubled, {CANDIDATE: "a", BASELINE: "b"})
    assert found.answers[CANDIDATE].tolist() == found.answers[BASELINE].tolist() == [0.0, 4.0]
    assert (found.labels.tolist(), found.unlabelled) == ([0.0, 4.0], 2)
    assert found.tables[0].candidate["mean_absolute_error"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("problem", "said"),
    [("no model", "no model"), ("fails", "broken"), ("other shape", r"\[3, 1\], not \[3\]"), ("other input", "tip")],
)
def test_measure_broken_candidate_raises_and_broken_production_model_is_left_out(
    problem: str, said: str, rows: EvalRows, tmp_path: Path
) -> None:
    examples = write_examples(tmp_path, [0.0, 1.0, 2.0])
    with pytest.raises(GateError, match=f"the candidate {problem} cannot be scored: .*{said}"):
        measure_in_memory(examples, rows, Doubled, {CANDIDATE: problem, BASELINE: "b"})
    found = measure_in_memory(examples, rows, Doubled, {CANDIDATE: "a", BASELINE: problem})
    assert found.answers.keys() == {CANDIDATE}
    assert found.tables[0].baseline is None
    assert re.search(said, found.problems[BASELINE])


def test_batches_without_a_labelled_row_are_refused(rows: EvalRows, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row of the eval split has a label"):
        next(rows.batches(write_examples(tmp_path, [None, None])))


def test_models_paths_are_those_that_load(rows: EvalRows) -> None:
    assert Models(Doubled, {CANDIDATE: "a", BASELINE: "no model"}, rows).paths == {CANDIDATE: "a"}


def test_score_travels_to_the_workers_of_beam(rows: EvalRows) -> None:
    from slipway.evaluation.tfma.engine import Score

    arrived = pickle.loads(pickle.dumps(Score("gs://bucket/examples", rows, Predictor, {CANDIDATE: "a"}, 0.0)))
    assert arrived.load is Predictor
    assert arrived.rows.features[0].name == "x"


def test_names_of_a_wide_split_are_asked_for_once() -> None:
    """Arrow makes the list of all names anew each time."""
    config = EvaluationConfig.model_validate({"task": "regression", "label": {"column": "y"}})
    names = [f"c{place}" for place in range(100)]
    schema = Asked(pa.schema([(name, pa.float32()) for name in [*names, "y"]]))
    rows = EvalRows(config, [schema_pb2.Feature(name=name, type=schema_pb2.FLOAT) for name in names])
    assert rows.columns(schema) == [*names, "y"]
    assert schema.counts["names"] == 1
