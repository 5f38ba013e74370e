"""Metrics of every slice of more rows than memory holds: sums are merged by batch, AUC's rows are sorted on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slipway.data.database import connect, literal
from slipway.evaluation.metric import BASELINE, CANDIDATE
from slipway.evaluation.metrics import (
    Groups,
    add_sums,
    derive_metrics,
    integrate,
    invalid_predictions,
    ranked,
    sum_rows,
)
from slipway.evaluation.slices import MetricTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from slipway.evaluation.metrics import Floats, Metrics, Sums
    from slipway.evaluation.slices import SliceValues, Slicing
    from slipway.module_api import Task

SORT_MEMORY = "512MB"
PART_ROWS = 1 << 18


class MergedTables:
    """The tables of some models; `folder` takes the rows that AUC ranks, 4 bytes for each score, slicing and label."""

    def __init__(self, task: Task, folder: str) -> None:
        self._task, self._folder = task, folder
        self._slices: dict[tuple[str, ...], dict[SliceValues, int]] = {}
        self._sums: dict[tuple[str, tuple[str, ...]], Sums] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rankings = 0
        self.invalid: dict[str, int] = {}

    def add(
        self,
        labels: NDArray[Any],
        answers: Mapping[str, NDArray[np.float32]],
        slicings: list[Slicing],
        weights: Floats | None,
    ) -> None:
        """Adds rows; the arguments are those of `compute_metrics`, with the predictions of each model."""
        places = {one.columns: self._places(one) for one in slicings}
        for model, predictions in answers.items():
            invalid = int(invalid_predictions(self._task, predictions).sum())
            self.invalid[model] = self.invalid.get(model, 0) + invalid
            of_groups = sum_rows(self._task, labels, predictions)
            for one in slicings:
                sums = of_groups(Groups(one.codes, len(one.values), weights))
                self._merge((model, one.columns), sums, places[one.columns])
            self._write(model, labels, predictions, [places[one.columns][one.codes] for one in slicings], weights)

    def _places(self, slicing: Slicing) -> NDArray[np.int64]:
        index = self._slices.setdefault(slicing.columns, {})
        return np.array([index.setdefault(values, len(index)) for values in slicing.values], np.int64)

    def _merge(self, key: tuple[str, tuple[str, ...]], sums: Sums, places: NDArray[np.int64]) -> None:
        """Adds the sums of a batch, which may have slices that are new."""
        size = len(self._slices[key[1]])
        known = self._sums.get(key, {name: np.zeros((0, *values.shape[1:])) for name, values in sums.items()})
        grown = {
            name: np.concatenate([one, np.zeros((size - len(one), *one.shape[1:]))]) for name, one in known.items()
        }
        both = add_sums({name: values[places] for name, values in grown.items()}, sums)
        for name, values in both.items():
            grown[name][places] = values
        self._sums[key] = grown

    def _write(
        self,
        model: str,
        labels: NDArray[Any],
        predictions: NDArray[np.float32],
        codes: list[NDArray[np.int64]],
        weights: Floats | None,
    ) -> None:
        rankings = ranked(self._task, labels, predictions)
        self._rankings = len(rankings)
        if not rankings:
            return
        columns: dict[str, Any] = {f"slice{index}": one.astype(np.int32) for index, one in enumerate(codes)}
        for index, (positive, scores) in enumerate(rankings):
            columns |= {f"positive{index}": positive > 0, f"score{index}": scores}
        if weights is not None:
            columns["weight"] = weights
        table = pa.table(columns)
        if model not in self._writers:
            self._writers[model] = pq.ParquetWriter(self._file(model), table.schema, compression="lz4")
        self._writers[model].write_table(table)

    def _file(self, model: str) -> str:
        return str(Path(self._folder, f"{model}.parquet"))

    def tables(self, models: list[str]) -> list[MetricTable]:
        """One for each slicing, of the candidate and the baseline among these models; no row can be added after it."""
        for writer in self._writers.values():
            writer.close()
        return [
            MetricTable(
                columns,
                list(values),
                self._sums[CANDIDATE, columns]["rows"].astype(int),
                self._metrics(CANDIDATE, index, columns),
                self._metrics(BASELINE, index, columns) if BASELINE in models else None,
            )
            for index, (columns, values) in enumerate(self._slices.items())
        ]

    def _metrics(self, model: str, slicing: int, columns: tuple[str, ...]) -> Metrics:
        size = len(self._slices[columns])
        areas = [integrate(self._ties(model, slicing, ranking), size) for ranking in range(self._rankings)]
        return derive_metrics(self._task, self._sums[model, columns], areas)

    def _ties(self, model: str, slicing: int, ranking: int) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
        """The rows of each slice by falling score, those of one score together."""
        weight = "weight" if "weight" in self._writers[model].schema.names else "1"
        positive = f"CASE WHEN positive{ranking} THEN {weight} ELSE 0 END"
        query = f"""
            SELECT slice{slicing}, sum({positive})::DOUBLE, sum({weight})::DOUBLE
            FROM read_parquet({literal(self._file(model))})
            GROUP BY slice{slicing}, score{ranking} ORDER BY slice{slicing}, score{ranking} DESC
        """  # noqa: S608  # names of our own
        with connect(self._folder, memory_limit=SORT_MEMORY, threads=os.cpu_count() or 1) as connection:
            for part in connection.sql(query).to_arrow_reader(PART_ROWS):
                if part.num_rows:
                    codes, positives, total = (column.to_numpy() for column in part.columns)
                    yield codes.astype(np.int64), positives, total
