"""Examples artifacts and small SavedModels for the tests of evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from slipway.data.examples.dataset import MANIFEST

TYPES = {"FLOAT": pa.float64(), "INT": pa.int64(), "BYTES": pa.string()}


class MetricsRecorder:
    """Stands for kfp's Metrics and ClassificationMetrics, and refuses what kfp's UI could not show."""

    path = os.devnull
    metadata: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.roc: tuple[list[float], list[float], list[float]] | None = None
        self.confusion: tuple[list[str], list[list[int]]] | None = None

    def log_metric(self, metric: str, value: float) -> None:
        assert abs(value) < float("inf")
        self.metrics[metric] = value

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        assert all(abs(value) < float("inf") for value in threshold)
        self.roc = fpr, tpr, threshold

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        self.confusion = categories, matrix


def write_examples(folder: Path, eval_rows: pa.Table, files: int = 1) -> str:
    """An examples artifact with an eval split only."""
    split = folder / "split=eval"
    split.mkdir(parents=True)
    size = -(-eval_rows.num_rows // files)
    for index in range(files):
        pq.write_table(eval_rows.slice(index * size, size), split / f"part-{index}.parquet")
    (folder / MANIFEST).touch()
    return str(folder)


def write_schema(folder: Path, features: dict[str, str], label: str) -> str:
    """A schema artifact: feature names to FLOAT, INT or BYTES."""
    folder.mkdir(parents=True)
    lines = [
        f'feature {{ name: "{name}" type: {kind} value_count {{ min: 1 max: 1 }} }}' for name, kind in features.items()
    ]
    lines.append(f'feature {{ name: "{label}" type: INT not_in_environment: "SERVING" }}')
    lines.append('default_environment: "TRAINING" default_environment: "SERVING"')
    (folder / "schema.pbtxt").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def save_model(folder: Path, inputs: dict[str, str], predict: Callable[..., Any]) -> str:
    """A SavedModel whose signature `raw` is `predict`, a function of one tensor per input."""
    import tensorflow as tf

    dtypes = {"FLOAT": tf.float32, "INT": tf.int64, "BYTES": tf.string}
    specs = {name: tf.TensorSpec([None], dtypes[kind], name=name) for name, kind in inputs.items()}
    module = tf.Module()
    raw = tf.function(autograph=False, func=lambda **named: {"predictions": predict(**named)}).get_concrete_function(
        **specs
    )
    tf.saved_model.save(module, str(folder), signatures={"raw": raw})
    return str(folder)
