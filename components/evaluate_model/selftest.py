"""The gate proves itself: models whose verdict is known in advance go through the real evaluation.

Each case is a SavedModel, evaluated by `evaluate` as a pipeline does: the rows are read, the model is loaded and
asked, the thresholds are applied, the verdict is read back from `evaluation.json`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from components.evaluate_model.run import evaluate
from slipway.data.examples.dataset import MANIFEST
from slipway.errors import GateError, SlipwayError
from slipway.evaluation.results import read_evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

Expected = Literal["blessed", "refused", "error"]
Thresholds = tuple[dict[str, Any], ...]

ROWS = 2_000
SMALL = 40  # rows of the smallest slice; thresholds ask for 100
SCHEMA = """
default_environment: "TRAINING" default_environment: "SERVING"
feature { name: "signal" type: FLOAT } feature { name: "noise" type: FLOAT } feature { name: "group" type: BYTES }
feature { name: "label" type: INT not_in_environment: "SERVING" }
"""


class _Quality(NamedTuple):
    """How good a made-up model is: what share of the signal it sees, where it errs, where it breaks."""

    signal: float
    wrong_on: str = "-"
    nan_on: str = "-"


MODELS = {
    "good": _Quality(0.7),
    "better": _Quality(0.9),
    "worse": _Quality(0.5),
    "not a number": _Quality(0.9, nan_on="small"),
    "wrong on b": _Quality(0.9, wrong_on="b"),
    "wrong on small": _Quality(0.9, wrong_on="small"),
}
ABSOLUTE = {"metric": "auc", "min": 0.7}
RELATIVE = {"metric": "auc", "max_drop": 0.0}
RELATIVE_LOSS = {"metric": "log_loss", "max_drop": 0.0}
BY_GROUP = {"metric": "auc", "min": 0.7, "slice": ["group"]}
RELATIVE_BY_GROUP = {"metric": "auc", "max_drop": 0.0, "slice": ["group"]}
ALL = (ABSOLUTE, RELATIVE, RELATIVE_LOSS, RELATIVE_BY_GROUP)


@dataclass(frozen=True)
class Case:
    """One model, what it is compared with, and the verdict that it must get for the reason that it must get."""

    name: str
    candidate: str
    baseline: str
    thresholds: Thresholds
    expected: Expected
    because: str


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
    Case("no thresholds", "better", "good", (), "refused", "nothing was checked"),
)  # fmt: skip


@dataclass(frozen=True)
class CaseResult:
    """What the gate said of one case; `reason` is the line that was looked for, or all that was said instead."""

    name: str
    expected: Expected
    got: Expected
    reason: str
    passed: bool


def run_selftest() -> list[CaseResult]:
    """Sends every case through the gate; about ten seconds, most of it TensorFlow's import."""
    with tempfile.TemporaryDirectory(prefix="gate-selftest-") as folder:
        root = Path(folder)
        _write_rows(root)
        for name, quality in MODELS.items():
            _save_model(root / name, quality)
        return [_run(case, root) for case in CASES]


def require_all(results: Sequence[CaseResult]) -> None:
    """Refuses a gate that judged one case wrongly.

    Raises:
        GateError: it names each such case, the verdict that was expected and the one that was given.
    """
    wrong = [result for result in results if not result.passed]
    if wrong:
        lines = [f"  {one.name}: expected {one.expected}, got {one.got}: {one.reason}" for one in wrong]
        raise GateError("the gate is not to be trusted; it judged wrongly\n" + "\n".join(lines))


def _run(case: Case, root: Path) -> CaseResult:
    config = {"task": "binary", "label": {"column": "label"}, "thresholds": case.thresholds}
    baseline = str(root / case.baseline) if case.baseline else ""
    out = root / "out"
    log = _Unlogged()
    try:
        evaluate(
            str(root),
            str(root),
            str(root / case.candidate),
            baseline,
            config,
            {},
            str(out),
            log,
            log,
            str(out / "page"),
        )
        verdict = read_evaluation(out).verdict
    except SlipwayError as error:
        got, said = "error", [str(error)]
    else:
        got, said = "blessed" if verdict.blessed else "refused", verdict.reasons()
    because = [line for line in said if case.because in line]
    reason = because[0] if because else f"{case.because!r} is not said, but: {'; '.join(said) or 'nothing'}"
    passed = got == case.expected and bool(because)
    return CaseResult(case.name, case.expected, got, reason, passed)  # type: ignore[arg-type]


class _Unlogged:
    """Stands where Kubeflow's metrics would be."""

    def log_metric(self, metric: str, value: float) -> None: ...
    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None: ...
    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None: ...


def _write_rows(root: Path) -> None:
    """An examples artifact and a schema: a label that follows `signal`, in groups of known sizes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)
    signal, noise = random.normal(size=(2, ROWS))
    label = (signal + 0.5 * random.normal(size=ROWS) > 0).astype(np.int64)
    group = np.where(np.arange(ROWS) < SMALL, "small", np.where(np.arange(ROWS) % 2, "a", "b"))
    split = root / "split=eval"
    split.mkdir()
    columns = {"signal": signal, "noise": noise, "group": group, "label": label}
    pq.write_table(pa.table(columns), split / "rows.parquet")
    (root / MANIFEST).touch()
    (root / "schema.pbtxt").write_text(SCHEMA, encoding="utf-8")


def _save_model(folder: Path, quality: _Quality) -> None:
    import tensorflow as tf

    floats, strings = tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.string)

    def raw(signal: Any, noise: Any, group: Any) -> dict[str, Any]:
        seen = quality.signal * signal + (1 - quality.signal) * noise
        seen = tf.where(group == quality.wrong_on, -seen, seen)
        seen = tf.where(group == quality.nan_on, float("nan"), seen)
        return {"predictions": tf.sigmoid(4 * seen)}

    module = tf.Module()
    module.raw = tf.function(raw, input_signature=[floats, floats, strings])
    tf.saved_model.save(module, str(folder), signatures={"raw": module.raw})
