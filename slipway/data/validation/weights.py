"""What validation says of the column of weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from slipway.data.examples.dataset import SPLITS, Manifest, files_of_split
from slipway.data.validation.report import Anomaly
from slipway.data.weights import bad_weights

TYPES = {
    "missing": "FEATURE_TYPE_LOW_FRACTION_PRESENT",
    "NaN": "FLOAT_TYPE_HAS_NAN",
    "infinite": "FLOAT_TYPE_HAS_INF",
    "negative": "FLOAT_TYPE_SMALL_FLOAT",
}


def check_weights(examples_path: str | Path, manifest: Manifest) -> Iterator[Anomaly]:
    """The anomalies of weights that are missing, no number, negative, or all of them 0."""
    for split in SPLITS if manifest.weight else ():
        found: dict[str, tuple[int, str]] = {}  # number of rows, and the first
        rows, total = 0, 0.0
        for path in files_of_split(examples_path, split):
            column = pq.read_table(path, columns=[manifest.weight])[manifest.weight]
            for word, bad in bad_weights(column).items():
                value = column[int(bad[0])].as_py()
                shown = "" if value is None else f" ({value:g})"
                count, first = found.get(word, (0, f"row {bad[0] + 1:,} of {path.parent.name}/{path.name}{shown}"))
                found[word] = count + len(bad), first
            rows, total = rows + len(column), total + sum(chunk.sum().as_py() or 0 for chunk in column.chunks)
        for word, (count, first) in found.items():
            yield _anomaly(manifest.weight, split, TYPES[word], f"Weights are {word}", count, rows,
                           f"The weight is {word} in {count:,} of {rows:,} rows; the first is {first}.")  # fmt: skip
        if rows and not found and not total:
            yield _anomaly(manifest.weight, split, "FLOAT_TYPE_SMALL_FLOAT", "Weights are all 0", rows, rows,
                           f"The weight is 0 in all of {rows:,} rows, so that none counts.")  # fmt: skip


def _anomaly(weight: str, split: str, kind: str, short: str, count: int, rows: int, description: str) -> Anomaly:
    return Anomaly(
        feature=weight, split=split, severity="ERROR", type=kind, short=short, description=description, rows=count,
        of_rows=rows,
        fix="give each row a number, 0 or more (0 leaves it out), or correct label.weight of module.yaml",
    )  # fmt: skip
