"""`baseline.json` of a model version: what its training rows and its answers looked like, counted by cell.

Written by evaluate_model, pushed beside the version, read by the monitor. It holds no rows; what is personal in it are
frequent values of categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from slipway.data.examples.dataset import open_split
from slipway.evaluation.metric import CANDIDATE
from slipway.evaluation.results import OVERALL, Evaluation, SliceResult
from slipway.evaluation.slices import Measured
from slipway.monitoring.counts import Cells, Counts, add, choose_cells, place, widened
from slipway.monitoring.label_shares import count_jointly
from slipway.monitoring.slices import Slice, add_rows, choose_slices, count_in, places_of
from slipway.stores import storage

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

FILE = "baseline.json"
SCORE, CLASS = "score", "class"
CHOOSING_ROWS, BATCH_ROWS, COLUMNS_AT_ONCE = 1 << 20, 1 << 17, 16


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
    """The baseline of a judged model, counted batch by batch. Lists and fixed shapes (images) are left out.

    Of more than `CHOOSING_ROWS` training rows, batches from all over them choose the cells and the slices; all are
    counted.

    Args:
        examples_path: Examples; those of the gate's own test have an eval split only, which then stands for training.
        features: The inputs of the model.
        judged: The model's evaluation.
        measured: What it was judged by.
    """
    train = open_split(examples_path, "train" if Path(examples_path, "split=train").is_dir() else "eval")
    there, rows = set(train.schema.names), train.count_rows()
    named = [one.name for one in features if one.name in there]
    lists = {name for name in named if str(train.schema.field(name).type).startswith(("list", "large_list"))}
    uncounted = sorted(lists | {one.name for one in features if one.HasField("shape")})
    slices: list[Slice] = []
    for by in dict.fromkeys(one.columns for one in measured.slicings if one.columns and there.issuperset(one.columns)):
        chosen = _choosing(train, by, rows)
        slices += [one.model_copy(update={"rows": 0}) for one in choose_slices(dict(zip(by, chosen, strict=True)), by)]
    of_slices = {name for one in slices for name in one.columns}
    names = list(dict.fromkeys([judged.label, *(name for name in named if name not in uncounted)]))
    counted: dict[str, Counts] = {}
    joint: dict[str, NDArray[np.int64]] = {}
    [values] = _choosing(train, (judged.label,), rows)
    label_cells = choose_cells(values)
    for start in range(0, len(names), COLUMNS_AT_ONCE):
        part = names[start : start + COLUMNS_AT_ONCE]
        cells = {name: choose_cells(_choosing(train, (name,), rows)[0]) for name in part}
        for batch in _batches(train, list(dict.fromkeys([*part, judged.label, *of_slices]))):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            groups, labels = places_of(slices, columns), place(columns[judged.label], label_cells)
            if start == 0:
                add_rows(groups)
            for name in part:
                its = cells[name] = widened(cells[name], columns[name])
                placed = place(columns[name], its)
                count_in(groups, name, placed, its.size)
                found = Counts(cells=its, counts=np.bincount(placed, minlength=its.size).tolist())
                counted[name] = add(found, counted[name]) if name in counted else found
                if together := count_jointly(placed, its, labels, label_cells):
                    joint[name] = joint.get(name, 0) + np.array(together)
    return Baseline(
        rows=rows,
        features={name: counted[name] for name in named if name not in uncounted},
        answers=_answers(judged, measured, slices),
        label=judged.label,
        labels=counted[judged.label],
        labels_by={name: joint[name].tolist() for name in named if name in joint},
        metrics=[_with_thresholds(judged), *judged.slices],
        slices=slices,
        uncounted=uncounted,
    )


def _batches(train: ds.Dataset, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    batches = train.to_batches(list(columns), batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1)
    return (batch for batch in batches if batch.num_rows)


def _choosing(train: ds.Dataset, columns: Sequence[str], rows: int) -> list[pa.ChunkedArray]:
    """Columns of `CHOOSING_ROWS` training rows, or of all."""
    every = -(-rows // CHOOSING_ROWS) or 1
    chosen = (batch for number, batch in enumerate(_batches(train, columns)) if number % every == 0)
    schema = pa.schema([train.schema.field(name) for name in columns])
    found: list[pa.ChunkedArray] = pa.Table.from_batches(chosen, schema).columns
    return found


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
