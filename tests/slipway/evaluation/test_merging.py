"""Tables merged batch by batch, against the same rows in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.examples.dataset import MANIFEST
from slipway.errors import GateError
from slipway.evaluation import scoring
from slipway.evaluation.config import EvaluationConfig
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.metrics import integrate
from slipway.evaluation.scoring import EvalRows, measure_in_memory
from slipway.evaluation.slices import Measured, MetricTable

ROWS = 3_000
CLASSES = ["a", "b", "c"]


class Answers:
    """Predicts from x, in few distinct scores, so that ties are common; the path says how."""

    def __init__(self, path: str) -> None:
        self.path, self.seen = path, 0

    def inputs(self, signature: str) -> dict[str, Any]:
        return {"x": None}

    def predict(self, inputs: dict[str, Any]) -> Any:
        x = inputs["x"]
        self.seen += len(x)
        if self.path == "breaks" and self.seen > ROWS / 2:
            raise GateError("it broke")
        shift = 0.2 if self.path == "candidate" else 0.5
        score = np.round(np.clip(x + shift, 0, 1), 2).astype(np.float32)
        if "regression" in self.path:
            return x.astype(np.float32) * np.float32(1.1)
        if "multiclass" in self.path:
            return np.stack([score / 2, (1 - score) / 2, np.full(len(x), 0.5)], axis=1).astype(np.float32)
        return np.where(inputs["x"] > 0.999, np.float32(np.nan), score) if self.path == "invalid" else score


def examples(folder: Path, task: str) -> str:
    """Slices appear in later batches alone, have one class alone, and lack values."""
    random = np.random.default_rng(5)
    x = random.random(ROWS)
    labels: Any = {
        "binary": (x + random.normal(0, 0.3, ROWS) > 0.5).astype(np.int64),
        "multiclass": pa.array(np.array(CLASSES)[np.minimum((x * 3).astype(int), 2)]),
        "regression": 1e4 + x + random.normal(0, 0.1, ROWS),
    }[task]
    shops = [None if row % 11 == 0 else f"shop {(row // 500) * 3 + row % 3}" for row in range(ROWS)]
    table = pa.table({"x": x, "y": labels, "w": random.integers(1, 5, ROWS) / 2, "shop": shops,
                      "day": random.integers(0, 3, ROWS)})  # fmt: skip
    split = folder / "split=eval"
    split.mkdir(parents=True)
    pq.write_table(table, split / "part-0.parquet", row_group_size=400)
    (folder / MANIFEST).touch()
    return str(folder)


def measure(folder: str, task: str, weighted: bool, paths: dict[str, str]) -> Measured:
    label = {"column": "y", "weight": "w" if weighted else None}
    classes = CLASSES if task == "multiclass" else []
    config = EvaluationConfig.model_validate(
        {"task": task, "label": label, "slices": [["shop"], ["shop", "day"]], "classes": classes}
    )
    rows = EvalRows(config, [schema_pb2.Feature(name="x", type=schema_pb2.FLOAT)])
    return measure_in_memory(folder, rows, Answers, paths)


def assert_same(merged: MetricTable, whole: MetricTable) -> None:
    assert merged.columns == whole.columns
    order = [merged.values.index(one) for one in whole.values]
    assert len(order) == len(merged.values)
    np.testing.assert_array_equal(merged.examples[order], whole.examples)
    for ours, theirs in ((merged.candidate, whole.candidate), (merged.baseline, whole.baseline)):
        assert (ours is None) == (theirs is None)
        for name, values in (ours or {}).items():
            assert theirs is not None
            np.testing.assert_allclose(values[order], theirs[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_tables_of_rows_beyond_memory_are_those_in_memory(
    task: str, weighted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = examples(tmp_path, task)
    kinds = {"binary": "", "multiclass": " multiclass", "regression": " regression"}
    paths = {CANDIDATE: f"candidate{kinds[task]}", BASELINE: f"baseline{kinds[task]}"}
    whole = measure(folder, task, weighted, paths)
    monkeypatch.setattr(scoring, "BATCH_ROWS", 256)
    monkeypatch.setattr(scoring, "KEPT_ROWS", 600)
    merged = measure(folder, task, weighted, paths)
    assert (whole.sampled, merged.sampled) == (False, True)
    for one, other in zip(merged.tables, whole.tables, strict=True):
        assert_same(one, other)
    assert 500 < len(merged.labels) < 700
    assert len(merged.labels) == len(merged.answers[CANDIDATE]) == len(merged.slicings[2].codes)
    again = measure(folder, task, weighted, paths)
    np.testing.assert_array_equal(merged.answers[CANDIDATE], again.answers[CANDIDATE])


def test_an_invalid_prediction_beyond_memory_spoils_its_slices_and_a_broken_baseline_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = examples(tmp_path, "binary")
    paths = {CANDIDATE: "invalid", BASELINE: "breaks"}
    monkeypatch.setattr(scoring, "BATCH_ROWS", 256)
    whole = measure(folder, "binary", False, paths)
    monkeypatch.setattr(scoring, "KEPT_ROWS", 600)
    merged = measure(folder, "binary", False, paths)
    assert merged.invalid == whole.invalid
    assert merged.invalid[CANDIDATE] > 0
    assert merged.problems.keys() == {BASELINE}
    for one, other in zip(merged.tables, whole.tables, strict=True):
        assert_same(one, other)


def test_integrate_a_slice_that_parts_cut_is_whole() -> None:
    random = np.random.default_rng(1)
    codes = np.sort(random.integers(0, 4, 500))
    total = random.integers(1, 5, 500).astype(np.float64)
    positives = np.floor(total * random.random(500))
    cuts = [np.split(one, [1, 80, 81, 333]) for one in (codes, positives, total)]
    for ours, theirs in zip(
        integrate(zip(*cuts, strict=True), 4), integrate([(codes, positives, total)], 4), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
