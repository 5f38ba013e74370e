"""Leaks: columns that alone, or summed, predict the label nearly perfectly. Most are known only after the outcome.

A predictor of one column is fitted to a sample of the training split, and scored on one of the eval split:

- A column is cut into bins: its values if they are texts or few numbers, else quantiles; a missing value is a bin. Each
  bin predicts what the label was there. For two classes, the score is the AUC of these predictions (`ALONE_AUC`); for
  more, the share of the errors of always guessing the commonest class that it saves (`ALONE_SAVED`); for numbers, R² of
  the label's ranks, which no outlier decides (`ALONE_R2`).
- A sum is a linear model of all numbers, `MOST_TERMS` at most; logistic for two classes, none for more. If it scores
  `SUM_AUC` or `SUM_R2`, the fewest of its largest terms that do so are named.
- A copy gives every row a value of its class alone, or is a linear function of the label, without an exception.

Chance: each class has `MIN_ROWS` rows of the sample at least, or nothing is said. With 20 rows of either class, the AUC
of a column that has nothing to do with the label spreads by 0.09 around 0.5, so that 0.98 is over five deviations away
(fewer than one in a million). What is named without being a leak is a column that is really this good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slipway.data.database import identifier
from slipway.data.examples.dataset import SPLITS, Manifest
from slipway.data.schema import model_inputs
from slipway.data.statistics.compute import connect, run, scan, split_files
from slipway.data.validation.report import Anomaly
from slipway.strict_yaml import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.module_api import Task

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

SAMPLE_ROWS, SAMPLE_VALUES = 10_000, 4_000_000  # fewer rows of very many columns
COLUMNS_AT_ONCE = 100  # a query's memory grows with its columns
FIT_ROWS = 3_000  # of the sample, for sums of two classes
MIN_ROWS = 20
MOST_CLASSES = 20  # whole numbers of more values are a regression's label
ALONE_AUC, ALONE_SAVED, ALONE_R2 = 0.98, 0.98, 0.98
SUM_AUC, SUM_R2 = 0.9995, 0.9999
BINS, ROWS_OF_A_BIN = 256, 8
MOST_TERMS, SHOWN_TERMS = 200, 8

_COPY_TOLERANCE = 1e-9
_MEASURES: dict[Task, str] = {
    "binary": "AUC {:.4f}",
    "multiclass": "{:.2%} of the errors of a guess saved",
    "regression": "R² {:.4f}",
}


@dataclass(frozen=True)
class Leak:
    """Columns that predict the label, and how well."""

    columns: tuple[str, ...]
    how: Literal["copy", "alone", "sum"]
    measure: str

    def describe(self, label: str) -> str:
        """One sentence without its end."""
        names = " + ".join(self.columns[:SHOWN_TERMS]) + (" + …" if len(self.columns) > SHOWN_TERMS else "")
        if self.how == "copy":
            return f"{names} is the label {label} in another form"
        does = "alone predicts" if self.how == "alone" else "together, as a weighted sum, predict"
        return f"{names} {does} {label} nearly perfectly ({self.measure} on rows that it was not fitted to)"

    @property
    def fix(self) -> str:
        """What to do, with the line to add."""
        them = "it is" if len(self.columns) == 1 else "they are"
        return (
            f"if {them} known only after the outcome, add to `label` of module.yaml: "
            f"`training_only: {one_line(self.columns)}`"
        )


def find_leaks(examples_path: str | Path, label: str, columns: Collection[str]) -> list[Leak]:
    """The leaks among these columns of single numbers or texts; the others are passed over."""
    train, evaluation = (_sample(examples_path, split, label, columns) for split in SPLITS)
    labels = _Labels.of(train.pop(label), evaluation.pop(label)) if train and evaluation else None
    if labels is None:
        return []
    leaks = [leak for name in train if (leak := _alone(labels, name, train[name], evaluation[name]))]
    known = {name for leak in leaks for name in leak.columns}
    numbers = [
        name for name, values in train.items()
        if values.dtype == np.float64 and name not in known and np.isfinite(values).any()
    ]  # fmt: skip
    summed = _sum(labels, numbers, train, evaluation) if 1 < len(numbers) <= MOST_TERMS else None
    return [*leaks, summed] if summed else leaks


def check_leaks(examples_path: str | Path, schema: schema_pb2.Schema, manifest: Manifest) -> Iterator[Anomaly]:
    """The leaks among the model's inputs, as warnings: whether a column is known in time, only a person can say."""
    if not (manifest.rows.train and manifest.rows.eval):
        return
    for leak in find_leaks(examples_path, manifest.label, [feature.name for feature in model_inputs(schema)]):
        yield Anomaly(
            feature=leak.columns[0] if len(leak.columns) == 1 else "", split="eval", severity="WARNING",
            type="CUSTOM_VALIDATION", short="Tells the label", description=f"{leak.describe(manifest.label)}.",
            of_rows=manifest.rows.eval, fix=leak.fix,
        )  # fmt: skip


def _sample(examples_path: str | Path, split: str, label: str, columns: Collection[str]) -> dict[str, NDArray[Any]]:
    """Random rows, the same each time: numbers as float64 (NaN if missing), texts as 64 bits of their hash.

    The label is the first; without a usable one there is nothing.
    """
    files = split_files(examples_path, split)
    with connect() as connection:
        kinds = {name: kind for name, kind, *_ in run(connection, f"DESCRIBE {scan(files)}", files).fetchall()}
        chosen = [
            name for name in dict.fromkeys((label, *columns)) if kinds.get(name) in ("BIGINT", "DOUBLE", "VARCHAR")
        ]
        if label not in chosen:
            return {}
        count = min(SAMPLE_ROWS, SAMPLE_VALUES // len(chosen) + MIN_ROWS)
        [total] = run(connection, scan(files, "count(*)"), files).fetchone()
        drawn = f"FROM range({total}) AS rows(row) USING SAMPLE reservoir({count} ROWS) REPEATABLE (7)"
        run(connection, f"CREATE TEMP TABLE drawn AS {drawn}", files)
        sample: dict[str, NDArray[Any]] = {}
        for first in range(0, len(chosen), COLUMNS_AT_ONCE):
            names = chosen[first : first + COLUMNS_AT_ONCE]
            values = (
                f"hash({identifier(name)})" if kinds[name] == "VARCHAR"
                else f"coalesce({identifier(name)}::DOUBLE, 'nan')"
                for name in names
            )  # fmt: skip
            listed = ", ".join(f"{value} AS c{index}" for index, value in enumerate(values))
            numbered = scan(files, f"row_number() OVER () - 1 AS row, {listed}")
            # Mixed, since the first of them are a sample of their own: files may be sorted.
            rows = f"SELECT * EXCLUDE row FROM ({numbered}) SEMI JOIN drawn USING (row) ORDER BY hash(row)"  # noqa: S608
            sample |= zip(names, run(connection, rows, files).fetchnumpy().values(), strict=True)
    finite = np.isfinite(sample[label])
    return {name: values[finite] for name, values in sample.items()}


@dataclass(frozen=True)
class _Labels:
    """The label in both samples: 0 and 1, the number of the class, or the value."""

    task: Task
    train: Floats
    evaluation: Floats

    @classmethod
    def of(cls, train: NDArray[Any], evaluation: NDArray[Any]) -> _Labels | None:
        """None if there are too few rows to tell anything from chance."""
        parts = np.array([len(train)])
        values, codes = np.unique(np.concatenate([train, evaluation]), return_inverse=True)
        is_classes = train.dtype != np.float64 or (len(values) <= MOST_CLASSES and not np.any(values % 1))
        if not is_classes:
            enough = min(len(train), len(evaluation)) >= 2 * MIN_ROWS
            return cls("regression", train, evaluation) if enough else None
        split = [part.astype(np.float64) for part in np.split(codes, parts)]
        others = (len(part) - np.bincount(part.astype(np.int64), minlength=1).max() for part in split if len(part))
        if len(values) < 2 or not min(map(len, split)) or min(others) < MIN_ROWS:
            return None
        return cls("binary" if len(values) == 2 else "multiclass", split[0], split[1])

    def score(self, fitted: Indices, scored: Indices, bins: int) -> float:
        """How well the labels of each bin in the training sample predict those of the other."""
        sizes = np.bincount(fitted, minlength=bins)
        if self.task == "multiclass":
            classes = int(self.train.max()) + 1
            counts = np.bincount(fitted * classes + self.train.astype(np.int64), minlength=bins * classes)
            shares = counts.reshape(bins, classes) + np.bincount(self.train.astype(np.int64)) / (2 * len(self.train))
            wrong = np.mean(shares.argmax(axis=1)[scored] != self.evaluation)
            return float(1 - wrong / np.mean(self.evaluation != np.bincount(self.train.astype(np.int64)).argmax()))
        train, evaluation = self.train, self.evaluation
        if self.task == "regression":
            train, evaluation = _ranks(train, train), _ranks(train, evaluation)
        predicted = ((np.bincount(fitted, train, bins) + 0.1 * train.mean()) / (sizes + 0.1))[scored]
        return _auc(predicted, evaluation) if self.task == "binary" else _r_squared(predicted, evaluation)

    def is_copy(self, train: NDArray[Any], evaluation: NDArray[Any]) -> bool:
        """Whether the column and the label say the same in every row."""
        column, labels = np.concatenate([train, evaluation]), np.concatenate([self.train, self.evaluation])
        if self.task == "regression":
            if column.dtype != np.float64 or not np.isfinite(column).all() or not column.std() or not labels.std():
                return False
            return bool(abs(np.corrcoef(column, labels)[0, 1]) > 1 - _COPY_TOLERANCE)
        codes = np.unique(column, return_inverse=True)[1]
        pairs = len(np.unique(codes * (labels.max() + 1) + labels))
        return pairs == len(np.unique(codes)) == len(np.unique(labels))


def _alone(labels: _Labels, name: str, train: NDArray[Any], evaluation: NDArray[Any]) -> Leak | None:
    score = labels.score(*_bins(train, evaluation))
    if not score >= {"binary": ALONE_AUC, "multiclass": ALONE_SAVED, "regression": ALONE_R2}[labels.task]:
        return None
    return Leak((name,), "copy" if labels.is_copy(train, evaluation) else "alone", _measure(labels.task, score))


def _bins(train: NDArray[Any], evaluation: NDArray[Any]) -> tuple[Indices, Indices, int]:
    """The bin of each value in both samples, and how many there are; the last is of values that training lacks."""
    values, codes = np.unique(train, return_inverse=True)
    most = min(BINS, max(2, len(train) // ROWS_OF_A_BIN))
    if train.dtype == np.float64 and len(values) > most:
        edges = np.unique(np.nanquantile(train, np.linspace(0, 1, most + 1)[1:-1], method="lower"))
        missing = len(edges) + 1
        fitted, scored = (
            np.where(np.isnan(part), missing, np.searchsorted(edges, part, side="left")) for part in (train, evaluation)
        )
        return fitted, scored, missing + 1
    places = np.minimum(np.searchsorted(values, evaluation), len(values) - 1)
    known = (values[places] == evaluation) | (np.isnan(values[places]) & np.isnan(evaluation))
    return codes, np.where(known, places, len(values)), len(values) + 1


def _sum(
    labels: _Labels, names: list[str], train: dict[str, NDArray[Any]], evaluation: dict[str, NDArray[Any]]
) -> Leak | None:
    """The fewest terms of a linear model of all numbers that predict as well as all of them."""
    if labels.task == "multiclass":
        return None
    least = SUM_AUC if labels.task == "binary" else SUM_R2
    matrix = np.stack([train[name] for name in names], axis=1)
    held = np.stack([evaluation[name] for name in names], axis=1)
    with np.errstate(all="ignore"):
        finite = np.isfinite(matrix)
        present = np.maximum(finite.sum(axis=0), 1)  # of a column that is always missing nothing can be computed
        mean = np.where(finite, matrix, 0).sum(axis=0) / present
        deviation = np.sqrt(np.where(finite, (matrix - mean) ** 2, 0).sum(axis=0) / present)
        matrix, held = (np.nan_to_num((part - mean) / deviation, nan=0, posinf=0, neginf=0) for part in (matrix, held))
    fit = _fit_logistic if labels.task == "binary" else _fit_linear

    def score(columns: Indices) -> tuple[float, Floats]:
        weights = fit(matrix[:, columns], labels.train)
        predicted = held[:, columns] @ weights
        if labels.task == "binary":
            return _auc(predicted, labels.evaluation), weights
        return _r_squared(predicted + labels.train.mean(), labels.evaluation), weights

    whole, weights = score(np.arange(len(names)))
    if not whole >= least:
        return None
    order = np.argsort(-np.abs(weights), kind="stable")
    too_few, enough, found = 1, len(names), whole
    while enough - too_few > 1:
        count = (too_few + enough) // 2
        reached, _ = score(np.sort(order[:count]))
        if reached >= least:
            enough, found = count, reached
        else:
            too_few = count
    terms = tuple(names[index] for index in np.sort(order[:enough]))
    return Leak(terms, "sum", _measure(labels.task, found))


def _fit_linear(matrix: Floats, target: Floats) -> Floats:
    weights: Floats = np.linalg.lstsq(matrix, target - target.mean(), rcond=None)[0]
    return weights


def _fit_logistic(matrix: Floats, target: Floats) -> Floats:
    """Newton's steps with a small ridge, so that classes that can be told apart perfectly have weights, too."""
    matrix, target = matrix[:FIT_ROWS], target[:FIT_ROWS]
    inputs = np.column_stack([matrix, np.ones(len(matrix))])
    weights = np.zeros(inputs.shape[1])
    ridge = 1e-3 * np.eye(len(weights))
    for _ in range(12):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (target - chance) - ridge @ weights
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + ridge
        weights = weights + np.linalg.solve(curvature, slope)
    return weights[:-1]


def _auc(predicted: Floats, labels: Floats) -> float:
    levels, codes = np.unique(predicted, return_inverse=True)
    positive = np.bincount(codes, labels, len(levels))
    negative = np.bincount(codes, 1 - labels, len(levels))
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / (positive.sum() * negative.sum()))


def _r_squared(predicted: Floats, labels: Floats) -> float:
    return float(1 - np.mean((labels - predicted) ** 2) / max(np.var(labels), np.finfo(float).tiny))


def _ranks(known: Floats, values: Floats) -> Floats:
    """From 0 to 1, the share of known values that are smaller; half of the equal ones count."""
    known = np.sort(known)
    ranks: Floats = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / (
        2 * len(known)
    )
    return ranks


def _measure(task: Task, score: float) -> str:
    return _MEASURES[task].format(score)
