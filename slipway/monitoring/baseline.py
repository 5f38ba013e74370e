"""`baseline.json` of a model version: what its training rows and its answers looked like, counted by cell.

Written by evaluate_model, pushed beside the version, read by the monitor. It holds no rows; what is personal in it are
frequent values of categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from slipway.data.examples.dataset import open_split
from slipway.evaluation.metric import CANDIDATE
from slipway.evaluation.results import OVERALL, Evaluation, SliceResult
from slipway.evaluation.slices import Measured
from slipway.monitoring.counts import Cells, Counts, choose_cells, place
from slipway.monitoring.label_shares import count_jointly
from slipway.monitoring.slices import Slice, choose_slices, count_in, places_of
from slipway.stores import storage

if TYPE_CHECKING:
    from numpy.typing import NDArray
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
    labels_by: dict[str, list[list[int]]] = Field(
        {}, description="of a feature, the labels within each of its cells; none in older baselines"
    )
    metrics: list[SliceResult] = Field([], description="overall, then by slice")
    slices: list[Slice] = Field([], description="the same counts within the largest slices; none in older baselines")
    uncounted: list[str] = Field([], description="inputs that are not compared: lists and images")


def count_baseline(
    examples_path: str | Path, features: Sequence[schema_pb2.Feature], judged: Evaluation, measured: Measured
) -> Baseline:
    """The baseline of a judged model; a column is in memory at a time. Lists and fixed shapes (images) are left out.

    Args:
        examples_path: Examples; those of the gate's own test have an eval split only, which then stands for training.
        features: The inputs of the model.
        judged: The model's evaluation.
        measured: What it was judged by.
    """
    train = open_split(examples_path, "train" if Path(examples_path, "split=train").is_dir() else "eval")
    there = set(train.schema.names)
    named = [one.name for one in features if one.name in there]
    lists = {name for name in named if str(train.schema.field(name).type).startswith(("list", "large_list"))}
    uncounted = sorted(lists | {one.name for one in features if one.HasField("shape")})
    slices, groups = [], []
    for by in dict.fromkeys(one.columns for one in measured.slicings if one.columns and there.issuperset(one.columns)):
        sliced_by = {name: train.to_table(columns=[name])[name] for name in by}
        slices += choose_slices(sliced_by, by)
        groups += places_of([one for one in slices if tuple(one.columns) == by], sliced_by)

    def column(name: str) -> tuple[Counts, NDArray[np.int64]]:
        values = train.to_table(columns=[name])[name]
        cells = choose_cells(values)
        placed = place(values, cells)
        count_in(groups, name, placed, cells.size)
        return Counts(cells=cells, counts=np.bincount(placed, minlength=cells.size).tolist()), placed

    labels, label_places = column(judged.label)
    counted: dict[str, Counts] = {}
    labels_by: dict[str, list[list[int]]] = {}
    for name in named:
        if name not in uncounted:
            counted[name], placed = column(name)
            if joint := count_jointly(placed, counted[name].cells, label_places, labels.cells):
                labels_by[name] = joint
    return Baseline(
        rows=train.count_rows(),
        features=counted,
        answers=_answers(judged, measured, slices),
        label=judged.label,
        labels=labels,
        labels_by=labels_by,
        metrics=[_with_thresholds(judged), *judged.slices],
        slices=slices,
        uncounted=uncounted,
    )


def write_baseline(baseline: Baseline, folder: str) -> None:
    """Writes `baseline.json`, atomically."""
    storage.write_text(storage.join(folder, FILE), baseline.model_dump_json())


def read_baseline(folder: str) -> Baseline:
    """The baseline in a folder; StoreError if there is none."""
    return Baseline.model_validate_json(storage.read_text(storage.join(folder, FILE)))


def _with_thresholds(judged: Evaluation) -> SliceResult:
    """The metrics overall, with those at decision thresholds and of one class, which the verdict has."""
    seen = {one.metric: one.value for one in judged.verdict.checks if one.slice == OVERALL and one.value is not None}
    return judged.overall.model_copy(update={"candidate": seen | judged.overall.candidate})


def _answers(judged: Evaluation, measured: Measured, slices: list[Slice]) -> dict[str, Counts]:
    """The scores by the bins of the evaluation's histogram, and the predicted classes; within the slices, too."""
    drawn, matrix = judged.curves.histogram, judged.curves.confusion_matrix
    predictions, found = measured.answers[CANDIDATE], {}
    columns: dict[str, tuple[pa.Array, Cells]] = {}
    if drawn:
        scores = predictions if predictions.ndim == 1 else predictions.max(axis=1)
        columns[SCORE] = pa.array(scores, pa.float64()), Cells(kind="number", edges=drawn.edges[1:-1])
    if matrix and judged.task == "multiclass":
        classes = pa.array(matrix.classes).take(pa.array(predictions.argmax(axis=1)))
        columns[CLASS] = classes, Cells(kind="category", values=matrix.classes)
    groups = []
    for one in measured.slicings:
        known = [its for its in slices if tuple(its.columns) == one.columns]
        index = {tuple(its.values): number for number, its in enumerate(known)}
        groups.append((known, np.array([index.get(its, len(known)) for its in one.values], np.int64)[one.codes]))
    for name, (values, cells) in columns.items():
        placed = place(values, cells)
        count_in(groups, name, placed, cells.size)
        found[name] = Counts(cells=cells, counts=np.bincount(placed, minlength=cells.size).tolist())
    return found
