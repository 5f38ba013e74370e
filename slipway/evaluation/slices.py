"""Slices: the rows that share the values of some columns; and the result of an engine, metrics by slice."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from slipway.errors import ConfigError
from slipway.evaluation.metric import BEST, ranking_metric
from slipway.evaluation.results import LeftOut, SliceResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from slipway.evaluation.results import Metrics
    from slipway.module_api import Task

    Floats = NDArray[np.float64]

SliceValues = tuple[str | None, ...]

RANKED_FROM = 100  # examples: on fewer, chance decides which slice is worst
RANKED_FROM_RARER = 20  # examples of the rarer class, where AUC ranks
WORST = 10
LISTED = 50


@dataclass(frozen=True)
class Slicing:
    """A partition of the rows by columns: `codes[row]` is the index of a slice, `values[slice]` the columns' values.

    Without columns all rows are one slice. None is a missing value: null, NaN or an empty string.
    """

    columns: tuple[str, ...]
    codes: NDArray[np.int64]
    values: list[SliceValues]


def slice_rows(table: pa.Table, specs: Iterable[tuple[str, ...]]) -> list[Slicing]:
    """One partition of the rows for each tuple of columns, which `check_columns` allows; no slice is empty."""
    encoded: dict[str, tuple[NDArray[np.int64], list[str | None]]] = {}
    slicings = []
    for columns in specs:
        joint = np.zeros(table.num_rows, np.int64)
        for name in columns:
            if name not in encoded:
                encoded[name] = encode_column(table, name)
            codes, values = encoded[name]
            joint = joint * len(values) + codes
        present, compact = np.unique(joint, return_inverse=True)
        parts: list[list[str | None]] = []
        for _, values in (encoded[name] for name in reversed(columns)):
            present, codes = np.divmod(present, len(values))
            parts.insert(0, [values[code] for code in codes])
        found: list[SliceValues] = list(zip(*parts, strict=True)) if columns else [()]
        slicings.append(Slicing(columns, compact.astype(np.int64), found))
    return slicings


def check_columns(names: Iterable[str], schema: pa.Schema) -> None:
    """Refuses a slice column that cannot be sliced on.

    Raises:
        ConfigError: it is not in the data, or holds lists; the message names the nearest column.
    """
    for name in names:
        if name not in schema.names:
            (near,) = difflib.get_close_matches(name, schema.names, n=1, cutoff=0)
            raise ConfigError(
                f"slice column {name!r} is not in the data; did you mean {near!r}? Correct slices or thresholds in "
                "module.yaml"
            )
        if pa.types.is_nested(schema.field(name).type):
            raise ConfigError(f"slice column {name!r} holds lists; slice on a column with one value a row")


def encode_column(table: pa.Table, name: str) -> tuple[NDArray[np.int64], list[str | None]]:
    """A column as slice values: one code a row, and the value of each code."""
    encoded = table[name].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    texts: list[str | None] = [_text(value) for value in encoded.dictionary.to_pylist()]
    values = list(dict.fromkeys([*texts, None]))
    index = {text: code for code, text in enumerate(values)}
    recode = np.array([index[text] for text in texts] + [index[None]], dtype=np.int64)
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return recode[codes], values


def _text(value: Any) -> str | None:
    if value is None or value != value:  # NaN alone differs from itself
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).lower() if isinstance(value, bool) else str(value) or None


@dataclass(frozen=True)
class MetricTable:
    """Row `i` is the slice `values[i]`; metrics are `[slices]`, NaN where undefined. Without columns: overall."""

    columns: tuple[str, ...]
    values: list[SliceValues]
    examples: NDArray[np.int64]
    candidate: dict[str, Floats]
    baseline: dict[str, Floats] | None = None

    def only(self, chosen: NDArray[np.bool_]) -> MetricTable:
        """The table of some slices."""

        def of(metrics: dict[str, Floats]) -> dict[str, Floats]:
            return {name: one[chosen] for name, one in metrics.items()}

        baseline = None if self.baseline is None else of(self.baseline)
        values = list(compress(self.values, chosen))
        return MetricTable(self.columns, values, self.examples[chosen], of(self.candidate), baseline)

    def places(self, slicing: Slicing) -> NDArray[np.int64]:
        """The place of each slice in a slicing of some rows; -1 where no row of it is among them."""
        if slicing.values == self.values:
            return np.arange(len(self.values))
        index = {values: place for place, values in enumerate(slicing.values)}
        return np.array([index.get(values, -1) for values in self.values], np.int64)

    def row(self, index: int) -> SliceResult:
        """One slice."""

        def at(metrics: dict[str, Floats]) -> Metrics:
            return {name: float(one[index]) if np.isfinite(one[index]) else None for name, one in metrics.items()}

        return SliceResult(
            columns=list(self.columns),
            values=list(self.values[index]),
            examples=int(self.examples[index]),
            candidate=at(self.candidate),
            baseline=None if self.baseline is None else at(self.baseline),
        )


@dataclass(frozen=True)
class Measured:
    """The result of an engine.

    Attributes:
        tables: The overall one first.
        labels: Of all labelled rows or, if `sampled`, of some: for the curves and for comparisons between models.
        answers: Predictions for the rows of `labels`, by model.
        slicings: The slices of the rows of `labels`, for each table.
        invalid: Number of invalid predictions of the candidate and of the production model.
        unlabelled: Rows without a label.
        problems: The reasons why models could not be scored.
        sampled: Whether `labels` leave rows out.
        weights: Of the rows of `labels`; None if they count alike.
    """

    tables: list[MetricTable]
    labels: NDArray[Any]
    answers: dict[str, NDArray[np.float32]]
    slicings: list[Slicing]
    invalid: dict[str, int]
    unlabelled: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    sampled: bool = False
    weights: Floats | None = None

    def slicing(self, columns: tuple[str, ...]) -> Slicing:
        """The slices by these columns."""
        return next(one for one in self.slicings if one.columns == columns)


def list_slices(task: Task, tables: Iterable[MetricTable]) -> tuple[list[SliceResult], list[LeftOut]]:
    """The largest and the worst slices of each table, at most `LISTED`, largest first; and a count of the others."""
    listed, left_out = [], []
    for table in tables:
        largest = np.argsort(-table.examples, kind="stable")
        kept = largest[: LISTED - WORST].tolist()
        kept += [index for index in _ranked(task, table)[:WORST] if index not in kept]
        known = set(kept)
        kept += [index for index in largest.tolist() if index not in known][: LISTED - len(kept)]
        kept.sort(key=lambda index: -int(table.examples[index]))
        listed += [table.row(index) for index in kept]
        if len(kept) < len(table.values):
            rest = int(table.examples.sum() - table.examples[kept].sum())
            left_out.append(LeftOut(columns=list(table.columns), slices=len(table.values) - len(kept), examples=rest))
    return listed, left_out


def worst_slices(task: Task, tables: Iterable[MetricTable]) -> list[SliceResult]:
    """The worst slices of all tables, worst first."""
    metric = ranking_metric(task)
    rows = [table.row(index) for table in tables for index in _ranked(task, table)[:WORST]]
    rows.sort(key=lambda row: row.candidate[metric] or 0.0, reverse=BEST[metric] == "low")
    return rows[:WORST]


def _ranked(task: Task, table: MetricTable) -> list[int]:
    """The slices large enough to be ranked, worst first."""
    metric = ranking_metric(task)
    values = table.candidate[metric]
    order = np.argsort(-values if BEST[metric] == "low" else values, kind="stable")
    fit = (table.examples >= RANKED_FROM) & np.isfinite(values)
    if task == "binary":
        share = table.candidate["mean_label"]
        fit &= np.minimum(share, 1 - share) * table.examples >= RANKED_FROM_RARER
    return [int(index) for index in order if fit[index]]
