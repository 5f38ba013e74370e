"""Labels by feature: whether rows with the same value of a feature have other labels than in training.

Inputs may stay as they were while what they mean changes; the labels overall need not move either. The baseline counts
the training rows by the cells of each feature and of the label. It is told to people and decides nothing: worse
performance does. Why is docs/decisions/0046-labels-are-compared-by-feature.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from slipway.monitoring.counts import Cells, Counts, place
from slipway.monitoring.drift import Distance, measure_within
from slipway.pages.numbers import format_share

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MOST_CELLS = 50  # of a feature, and of the label


class LabelShares(BaseModel):
    """The label's value whose share moved most, within those cells of a feature that have rows on both sides."""

    feature: str
    baseline: Distance
    label: str
    cells: list[str]
    trained: list[float]
    now: list[float]
    rows: list[int] = Field(description="of the window, by cell")

    @property
    def farthest(self) -> list[tuple[str, float, float]]:
        """Each cell with its shares in training and now: first those in which the most rows have another label."""
        cells = zip(self.cells, self.trained, self.now, self.rows, strict=True)
        return [cell[:3] for cell in sorted(cells, key=lambda cell: -abs(cell[2] - cell[1]) * cell[3])]

    @property
    def said(self) -> str:
        """`1 where payment is Card: 65 % in training, 35.8 % now`, of the cell in which it moved most."""
        cell, trained, now = self.farthest[0]
        where = f"{self.label} where {self.feature} is {cell}"
        return f"{where}: {format_share(trained)} in training, {format_share(now)} now"


def count_jointly(
    places: NDArray[np.int64], cells: Cells, labels: NDArray[np.int64], label_cells: Cells
) -> list[list[int]]:
    """How many rows each cell of a feature holds, a line each, by the label's cells; nothing where there are too many.

    Args:
        places: The feature's cell of each row.
        cells: Of the feature.
        labels: The label's cell of each row.
        label_cells: Of the label.
    """
    lines, size = cells.size, label_cells.size
    if max(lines, size) > MOST_CELLS:
        return []
    counted: list[list[int]] = np.bincount(places * size + labels, minlength=lines * size).reshape(lines, size).tolist()
    return counted


def compare_labels(
    rows: Mapping[str, pa.ChunkedArray],
    label: str,
    label_cells: Cells,
    features: Mapping[str, Counts],
    trained: Mapping[str, list[list[int]]],
    threshold: float,
) -> list[LabelShares]:
    """The labels of requests beside those of training, by each feature of which the baseline counts them.

    A feature of which no cell has rows enough on both sides tells nothing, and is left out.

    Args:
        rows: The columns of the requests, with their labels.
        label: The column of the label.
        label_cells: Of the baseline, by which labels are counted.
        features: Of the baseline.
        trained: Of the baseline, the labels by feature.
        threshold: Of the distance.
    """
    labels = place(rows[label], label_cells)
    names = [name for name in trained if name in rows and name != label]
    found = []
    for name in names:
        cells = features[name].cells
        now = np.array(count_jointly(place(rows[name], cells), cells, labels, label_cells))
        before = np.array(trained[name])
        distance = measure_within(now, before, threshold, len(names))
        if math.isfinite(distance.noise):
            found.append(_shares(name, distance, cells, label_cells, now, before))
    return sorted(found, key=lambda one: -one.baseline.distance)


def _shares(
    name: str, distance: Distance, cells: Cells, labels: Cells, now: NDArray[np.int64], trained: NDArray[np.int64]
) -> LabelShares:
    there = np.flatnonzero((now.sum(axis=1) > 0) & (trained.sum(axis=1) > 0))
    mine, theirs = (side[there] / side[there].sum(axis=1, keepdims=True) for side in (now, trained))
    moved = (np.abs(mine - theirs) * now[there].sum(axis=1, keepdims=True)).sum(axis=0)
    most = len(moved) - 1 - int(np.argmax(moved[::-1].round(9)))  # of two classes the second, which a model predicts
    return LabelShares(
        feature=name,
        baseline=distance,
        label=labels.names[most],
        cells=[cells.names[index] for index in there],
        trained=theirs[:, most].tolist(),
        now=mine[:, most].tolist(),
        rows=now[there].sum(axis=1).tolist(),
    )
