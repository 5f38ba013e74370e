"""`baseline.json` of a model version: what its training rows and its answers looked like, counted by cell.

Written by evaluate_model, pushed beside the version, read by the monitor. It holds no rows; what is personal in it are
frequent values of categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from slipway.data.examples.dataset import open_split
from slipway.evaluation.results import Evaluation, SliceResult
from slipway.monitoring.counts import Cells, Counts, choose_cells, count
from slipway.stores import storage

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

FILE = "baseline.json"
SCORE, CLASS = "score", "class"


class Baseline(BaseModel):
    """Columns of the training rows, answers on the evaluation rows, and the metrics there."""

    rows: int = Field(description="training rows")
    features: dict[str, Counts]
    answers: dict[str, Counts] = Field({}, description=f"`{SCORE}`, and of several classes `{CLASS}`")
    label: str
    labels: Counts
    metrics: list[SliceResult] = Field([], description="overall, then by slice")


def count_baseline(examples_path: str | Path, features: Sequence[schema_pb2.Feature], judged: Evaluation) -> Baseline:
    """The baseline of a judged model; a column is in memory at a time. Fixed shapes (images) are left out.

    Args:
        examples_path: Examples; those of the gate's own test have an eval split only, which then stands for training.
        features: The inputs of the model.
        judged: The model's evaluation.
    """
    train = open_split(examples_path, "train" if Path(examples_path, "split=train").is_dir() else "eval")

    def column(name: str) -> Counts:
        values = train.to_table(columns=[name])[name]
        return count(values, choose_cells(values))

    named = [one.name for one in features if not one.HasField("shape") and one.name in train.schema.names]
    lists = {name for name in named if str(train.schema.field(name).type).startswith(("list", "large_list"))}
    return Baseline(
        rows=train.count_rows(),
        features={name: column(name) for name in named if name not in lists},
        answers=_answers(judged),
        label=judged.label,
        labels=column(judged.label),
        metrics=[judged.overall, *judged.slices],
    )


def write_baseline(baseline: Baseline, folder: str) -> None:
    """Writes `baseline.json`, atomically."""
    storage.write_text(storage.join(folder, FILE), baseline.model_dump_json())


def read_baseline(folder: str) -> Baseline:
    """The baseline in a folder; StoreError if there is none."""
    return Baseline.model_validate_json(storage.read_text(storage.join(folder, FILE)))


def _answers(judged: Evaluation) -> dict[str, Counts]:
    """Of the histogram of predictions, which both engines count, and of the predicted classes."""
    drawn, matrix = judged.curves.histogram, judged.curves.confusion_matrix
    found = {}
    if drawn:
        parts = [
            counts for name, counts in drawn.counts.items() if judged.task != "regression" or name == "predictions"
        ]
        inner = Cells(kind="number", edges=drawn.edges[1:-1])
        found[SCORE] = Counts(cells=inner, counts=[*map(sum, zip(*parts, strict=True)), 0, 0])
    if matrix and judged.task == "multiclass":
        predicted = [sum(column) for column in zip(*matrix.counts, strict=True)]
        found[CLASS] = Counts(cells=Cells(kind="category", values=matrix.classes), counts=[*predicted, 0, 0])
    return found
