"""What module.yaml says of the examples, compared with them: the columns of slices, and the values of the label.

Evaluation and training would refuse the same, an hour later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from slipway.data.examples.columns import no_such_column
from slipway.data.examples.dataset import SPLITS, Manifest, Split, open_split
from slipway.data.labels import label_codes
from slipway.data.validation.features import LARGEST_FLOAT
from slipway.data.validation.report import Anomaly
from slipway.module_api import LabelledTask

LISTED = 5


class Declared(LabelledTask):
    """The parts of module.yaml that are compared: no bounds of thresholds, so that another bound is no other data."""

    sliced: tuple[str, ...] = Field((), description="columns of slices and thresholds")
    judged: tuple[str, ...] = Field((), description="classes that thresholds are of")


def check_declared(examples_path: str | Path, manifest: Manifest, its: Declared) -> Iterator[Anomaly]:
    """The anomalies of the columns of slices, and of the labels."""
    yield from _check_slices(manifest, its.sliced)
    for split in SPLITS:
        rows = getattr(manifest.rows, split)
        if not rows or manifest.label not in manifest.columns:
            continue
        batches = open_split(examples_path, split).to_batches([manifest.label])
        if its.task == "regression":
            yield from _check_numbers(manifest.label, split, rows, batches)
        else:
            yield from _check_classes(manifest.label, split, rows, batches, its)


def _check_slices(manifest: Manifest, sliced: Iterable[str]) -> Iterator[Anomaly]:
    rows = manifest.rows.train + manifest.rows.eval
    fix = "correct `slices` and `thresholds` in module.yaml"
    for column in dict.fromkeys(sliced) if manifest.columns else ():
        kind = manifest.columns.get(column)
        if kind is None:
            why = no_such_column(column, manifest.columns, "the data", manifest.taken)
            yield Anomaly(
                feature=column, split="", severity="ERROR", type="SCHEMA_MISSING_COLUMN", short="No column to slice on",
                description=f"slices or thresholds of module.yaml name the column {column!r}, but {why}.",
                of_rows=rows, fix=fix,
            )  # fmt: skip
        elif kind.startswith("list"):
            yield Anomaly(
                feature=column, split="", severity="ERROR", type="UNEXPECTED_DATA_TYPE", short="Slices of lists",
                description=f"slices or thresholds of module.yaml name the column {column!r}, which holds lists; a "
                "slice needs one value a row.",
                of_rows=rows, fix=fix,
            )  # fmt: skip


def _check_numbers(label: str, split: Split, rows: int, batches: Iterable[pa.RecordBatch]) -> Iterator[Anomaly]:
    columns = (batch.column(label) for batch in batches)
    wrong = sum(
        pc.sum(pc.greater(pc.abs(column), LARGEST_FLOAT)).as_py() or 0
        for column in columns
        if pa.types.is_floating(column.type)
    )
    if wrong:
        yield Anomaly(
            feature=label, split=split, severity="ERROR", type="FLOAT_TYPE_HAS_INF", short="Infinite labels",
            description="The label is infinite, or beyond float32.", rows=wrong, of_rows=rows,
            fix="correct the data, or leave the label of such rows empty: then they are left out",
        )  # fmt: skip


def _check_classes(
    label: str, split: Split, rows: int, batches: Iterable[pa.RecordBatch], its: Declared
) -> Iterator[Anomaly]:
    """Labels that are no classes, and classes without rows: errors where without them nothing can be judged."""
    names, counts = its.class_names, Counter[Any]()
    for batch in batches:
        counts.update({one["values"]: one["counts"] for one in pc.value_counts(batch.column(label)).to_pylist()})
    coded = label_codes((value for value in counts if value is not None), its.task, names)
    unknown = Counter({value: counts[value] for value, code in coded if code is None})
    if unknown:
        listed = ", ".join(f"{value!r} ({count:,} rows)" for value, count in unknown.most_common(LISTED))
        yield Anomaly(
            feature=label, split=split, severity="ERROR", type="ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            short="Labels that are no classes", rows=unknown.total(), of_rows=rows,
            description=f"The label holds {listed}, none of the classes {', '.join(names)} of this {its.task} module.",
            fix="add the value to `classes` in module.yaml; or, if it stands for a missing label, to "
            "`ingestion.missing_values`; or correct the data",
        )  # fmt: skip
        return
    for name in sorted(set(names) - {names[code] for _, code in coded if code is not None}):
        needed = its.task == "binary" or (split == "eval" and name in its.judged)
        yield Anomaly(
            feature=label, split=split, severity="ERROR" if needed else "WARNING",
            type="ENUM_TYPE_UNEXPECTED_STRING_VALUES", short="A class without rows", rows=0, of_rows=rows,
            description=f"No row has the class {name!r}: the model cannot "
            + ("learn it." if split == "train" else "be judged by it."),
            fix="bring rows of the class, or correct `label`, `classes` or `split` in module.yaml",
        )  # fmt: skip
