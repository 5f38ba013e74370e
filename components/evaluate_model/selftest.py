"""Tests the gate with models of known verdict.

Each case is a SavedModel that goes through the step as in a pipeline; the verdict is read from `evaluation.json`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from kfp import dsl

from components.evaluate_model.component import evaluate_model
from slipway.data.examples.dataset import MANIFEST
from slipway.errors import GateError, SlipwayError
from slipway.evaluation.results import read_evaluation
from slipway.module_api import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Predict = Callable[[Any, Any, Any], Any]

Expected = Literal["blessed", "refused", "error"]

ROWS = 2_000
SMALL = 40  # rows of the smallest slice; thresholds ask for 100
SCHEMA = """
default_environment: "TRAINING" default_environment: "SERVING"
feature { name: "signal" type: FLOAT } feature { name: "noise" type: FLOAT } feature { name: "group" type: BYTES }
feature { name: "label" type: INT not_in_environment: "SERVING" }
"""
# Label columns; each has a shuffled copy, unrelated to the inputs.
TASKS: dict[str, Task] = {"label": "binary", "level": "multiclass", "amount": "regression"}
TRUE, SHUFFLED, CONSTANT = "true labels", "shuffled labels", "constant model"

# The share of the signal that each made-up model sees (negative: with other noise), and the group on which it is wrong
# or answers NaN. Their AUC: good 0.896, a little worse 0.887, worse again 0.877, other noise 0.862.
MODELS = {
    "good": (0.7, "", ""),
    "better": (0.9, "", ""),
    "a little worse": (0.6765, "", ""),
    "worse again": (0.652, "", ""),
    "other noise": (-0.62, "", ""),
    "worse": (0.5, "", ""),
    "not a number": (0.9, "", "small"),
    "wrong on b": (0.9, "b", ""),
    "wrong on small": (0.9, "small", ""),
}
FITTED: dict[str, tuple[Expected, str]] = {
    TRUE: ("blessed", "beats a constant model's"),
    SHUFFLED: ("refused", "than a constant model's"),
    CONSTANT: ("refused", "is no better than a constant model's"),
}
ANYTHING = {"metric": "example_count", "min": 0}
ABSOLUTE = {"metric": "auc", "min": 0.7}
RELATIVE = {"metric": "auc", "max_drop": 0.0}
RELATIVE_LOSS = {"metric": "log_loss", "max_drop": 0.0}
SMALL_DROP = {"metric": "auc", "max_drop": 0.0125}
BY_GROUP = {"metric": "auc", "min": 0.7, "slice": ["group"]}
RELATIVE_BY_GROUP = {"metric": "auc", "max_drop": 0.0, "slice": ["group"]}
ALL = (ABSOLUTE, RELATIVE, RELATIVE_LOSS, RELATIVE_BY_GROUP)


@dataclass(frozen=True)
class Case:
    """A candidate and a production model, with the expected verdict and a part of its reason."""

    name: str
    candidate: str
    baseline: str
    thresholds: tuple[dict[str, Any], ...]
    expected: Expected
    because: str
    label: str = "label"
    served: tuple[str, ...] = ()
    weight: str | None = None


def _labels(kind: str, column: str) -> str:
    return f"{SHUFFLED} {column}" if kind == SHUFFLED else column


CASES = (
    Case("better", "better", "good", ALL, "blessed", "no worse than production's"),
    Case("equal", "good", "good", ALL, "blessed", "no worse than production's"),
    Case("worse than production", "worse", "good", (RELATIVE,), "refused", "should be no worse than production's"),
    Case("greater loss than production", "worse", "good", (RELATIVE_LOSS,), "refused", "should be no worse than"),
    Case("below the minimum", "worse", "", ({"metric": "auc", "min": 0.95},), "refused", "is below 0.95"),
    Case("above the maximum", "worse", "", ({"metric": "log_loss", "max": 0.2},), "refused", "is above 0.2"),
    Case("NaN", "not a number", "good", (ABSOLUTE, RELATIVE), "refused", "are NaN"),
    Case("worse on one slice", "wrong on b", "good", (BY_GROUP,), "refused", "on group=b is below 0.7"),
    Case("worse on one slice than production", "wrong on b", "better", (RELATIVE_BY_GROUP,), "refused", "on group=b "),
    Case("too small a slice", "wrong on small", "good", (BY_GROUP,), "blessed", "fewer than 100 examples"),
    Case("no slice large enough", "better", "good", ({**BY_GROUP, "min_examples": 10_000},), "refused",
         "no slice could be checked"),
    Case("missing slice", "better", "good", ({**BY_GROUP, "slice": ["grupo"]},), "error", "did you mean 'group'?"),
    Case("no baseline", "better", "", (ABSOLUTE, RELATIVE), "blessed", "no other model is in production"),
    Case("baseline cannot be loaded", "better", "no such model", (RELATIVE,), "refused", "production cannot be scored"),
    Case("baseline answers NaN", "better", "not a number", (RELATIVE,), "refused", "predictions of production are NaN"),
    Case("a little worse", "a little worse", "good", (SMALL_DROP,), "blessed", "is at most 0.0125 worse than"),
    Case("worse again and again", "worse again", "a little worse", (SMALL_DROP,), "refused", "of version good",
         served=("good",)),
    Case("worse by chance", "other noise", "good", ({"metric": "auc", "max_drop": 0.03},), "blessed", "but for chance"),
    Case("worse by more than chance", "other noise", "good", ({"metric": "auc", "max_drop": 0.015},), "refused",
         "should be at most 0.015 worse than"),
    Case("too few rows to tell", "other noise", "worse again", ({"metric": "auc", "max_drop": 0.014},), "refused",
         "cannot tell"),
    Case("served before, but deleted", "good", "good", (SMALL_DROP,), "blessed", "its files were deleted",
         served=("1",)),
    Case("wrong where weights are 0", "wrong on b", "good", (ABSOLUTE, RELATIVE), "blessed", "no worse than",
         weight="of a"),
    Case("right where weights are 0", "wrong on b", "good", (ABSOLUTE,), "refused", "is below 0.7", weight="of b"),
    Case("no thresholds", "better", "good", (), "refused", "nothing was checked"),
    *(
        Case(f"{task}, {kind}", f"{kind} {column}", "", (ANYTHING,), expected, because, _labels(kind, column))
        for column, task in TASKS.items()
        for kind, (expected, because) in FITTED.items()
    ),
)  # fmt: skip


@dataclass(frozen=True)
class CaseResult:
    """The outcome of one case; `reason` is the expected line, or all lines if it is not among them."""

    name: str
    expected: str
    got: str
    reason: str
    passed: bool


def run_selftest() -> list[CaseResult]:
    """Runs every case; takes about ten seconds, most of it TensorFlow's import."""
    with tempfile.TemporaryDirectory(prefix="gate-selftest-") as folder:
        write_inputs(Path(folder))
        return [run_case(case, Path(folder)) for case in CASES]


def write_inputs(root: Path) -> None:
    """Writes the examples, their schema and the models of all cases."""
    (root / "split=eval").mkdir()
    pq.write_table(pa.table(_make_rows(7)), root / "split=eval" / "rows.parquet")
    (root / MANIFEST).touch()
    (root / "schema.pbtxt").write_text(SCHEMA, encoding="utf-8")
    for name, quality in MODELS.items():
        _save_model(root / name, _of_quality(*quality))
    for kind in FITTED:
        for column in TASKS:
            _save_model(root / f"{kind} {column}", _fit(kind, column))


def require_all(results: Sequence[CaseResult]) -> None:
    """Raises GateError with each case that was judged wrongly."""
    wrong = [result for result in results if not result.passed]
    if wrong:
        lines = [f"  {one.name}: expected {one.expected}, got {one.got}: {one.reason}" for one in wrong]
        raise GateError("the gate is not to be trusted; it judged wrongly\n" + "\n".join(lines))


def run_case(case: Case, root: Path) -> CaseResult:
    """Runs one case, in the folder of `write_inputs`."""
    task = TASKS[case.label.split()[-1]]
    classes = ("0", "1", "2") if task == "multiclass" else ()
    label = {"column": case.label, "weight": case.weight}
    config = {"task": task, "label": label, "classes": classes, "thresholds": case.thresholds}
    baseline = str(root / case.baseline) if case.baseline else ""
    out, got = root / "out", "error"
    try:
        evaluate_model.python_func(
            dsl.Dataset(uri=str(root)),
            dsl.Artifact(uri=str(root)),
            dsl.Model(uri=str(root / case.candidate)),
            baseline,
            {f"version {name}": str(root / name) if name in MODELS else "" for name in case.served},
            config,
            "",
            beam={},
            evaluation=dsl.Artifact(uri=str(out)),
            metrics=dsl.Metrics(uri=str(out / "metrics")),
            classification_metrics=dsl.ClassificationMetrics(uri=str(out / "curves")),
            evaluation_page=dsl.HTML(uri=str(out / "page")),
        )
        verdict = read_evaluation(out).verdict
        got, said = "blessed" if verdict.blessed else "refused", verdict.reasons()
    except SlipwayError as error:
        said = [str(error)]
    because = [line for line in said if case.because in line]
    reason = because[0] if because else f"{case.because!r} is not said, but: {'; '.join(said) or 'nothing'}"
    return CaseResult(case.name, case.expected, got, reason, passed=got == case.expected and bool(because))


def _make_rows(seed: int) -> dict[str, NDArray[Any]]:
    """Labels of every task that follow `signal`, the same labels shuffled, groups of known sizes, and weights."""
    random = np.random.default_rng(seed)
    signal, noise = random.normal(size=(2, ROWS))
    seen = signal + 0.5 * random.normal(size=ROWS)
    group = np.where(np.arange(ROWS) < SMALL, "small", np.where(np.arange(ROWS) % 2, "a", "b"))
    labels = {"label": (seen > 0).astype(np.int64), "level": np.digitize(seen, [-0.5, 0.5]), "amount": 10 + seen}
    shuffled = {_labels(SHUFFLED, column): random.permutation(values) for column, values in labels.items()}
    weights = {f"of {name}": (group == name).astype(np.float64) for name in ("a", "b")}
    return {"signal": signal, "noise": noise, "group": group, **weights, **labels, **shuffled}


def _of_quality(share: float, wrong_on: str, nan_on: str) -> Predict:
    def predict(signal: Any, noise: Any, group: Any) -> Any:
        seen = abs(share) * signal + (1 - abs(share)) * (noise if share > 0 else -noise)
        seen = tf.where(group == wrong_on, -seen, seen)
        return tf.sigmoid(4 * tf.where(group == nan_on, float("nan"), seen))

    return predict


def _fit(kind: str, column: str) -> Predict:
    """Least squares on other rows; one fit per class, scaled to sum to 1."""
    rows, task = _make_rows(8), TASKS[column]
    targets = rows[_labels(kind, column)]
    if task == "multiclass":
        targets = np.eye(3)[targets]
    inputs = np.stack([rows["signal"], rows["noise"], np.ones(ROWS)], axis=1)
    if kind == CONSTANT:
        inputs[:, :2] = 0
    weights = np.linalg.lstsq(inputs, targets)[0].reshape(3, -1).astype(np.float32)

    def predict(signal: Any, noise: Any, group: Any) -> Any:
        answers = tf.stack([signal, noise, tf.ones_like(signal)], axis=1) @ weights
        if task == "regression":
            return answers[:, 0]
        shares = tf.clip_by_value(answers, 0.01, 0.99)
        return shares[:, 0] if task == "binary" else shares / tf.reduce_sum(shares, axis=1, keepdims=True)

    return predict


def _save_model(folder: Path, predict: Predict) -> None:
    columns = {"signal": tf.float32, "noise": tf.float32, "group": tf.string}
    signature = [tf.TensorSpec([None], dtype, name=name) for name, dtype in columns.items()]
    module = tf.Module()
    module.raw = tf.function(lambda *inputs: {"predictions": predict(*inputs)}, input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"raw": module.raw})
