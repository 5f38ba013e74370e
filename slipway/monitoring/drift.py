"""Whether a column's values moved: a distance above its threshold and above its noise.

The distance is the Jensen-Shannon divergence to base 2 of the counts by cell. Of n and m rows of one distribution,
`8 ln 2 · JS / (1/n + 1/m)` follows χ² with one degree less than there are cells (the divergence's second-order term is
the χ² statistic of homogeneity: Lin, 1991, https://doi.org/10.1109/18.61115; Pardo, Statistical Inference Based on
Divergence Measures, 2006, ch. 3). The noise is the distance that chance exceeds with probability `ERROR_RATE` for any
of the columns that are compared at once (Bonferroni). Cells with an expected count below 5 on the smaller side are
pooled, since χ² does not hold for them (Cochran, 1954, https://doi.org/10.2307/3001616).

The second-order term is not all: where one side is much smaller, cells that are nearly empty there add up to 2.8 times
their share of χ², and chance would exceed the noise 5 to 20 times as often as it should. So the likelihood ratio of the
two samples (Wilks, 1938, https://doi.org/10.1214/aoms/1177732360), whose law is nearer to χ², must exceed it too. Then
chance does so 1 to 3 times as often, by simulation with 5 to 20 expected in a cell. Rows count as independent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.monitoring.counts import Counts

ERROR_RATE = 0.001  # of one comparison of all columns at once
LEAST_EXPECTED = 5


class Distance(BaseModel):
    """How far one column's values moved between two sets of rows."""

    model_config = ConfigDict(ser_json_inf_nan="strings")  # JSON has no infinity

    distance: float = Field(description="Jensen-Shannon divergence to base 2: 0 if alike, 1 if nothing is shared")
    noise: float = Field(description="what chance exceeds in one comparison of 1,000 of all columns")
    threshold: float
    rows: tuple[int, int] = Field(description="now, and before")

    @property
    def drifted(self) -> bool:
        """Whether the distance is above its threshold and not chance."""
        return self.distance > max(self.threshold, self.noise)


def measure(now: Counts, before: Counts, threshold: float, columns: int) -> Distance:
    """The distance of two counts by the same cells; `columns` are compared at once.

    Without rows on one side there is no distance: it is 0, and its noise infinite.
    """
    return measure_within(np.array([now.counts]), np.array([before.counts]), threshold, columns)


def measure_within(now: NDArray[np.int64], before: NDArray[np.int64], threshold: float, columns: int) -> Distance:
    """How far counts moved within groups of rows, a line each, however many rows each group has by now.

    The distance is the mean of the groups' own, weighted by nm / (n + m) for n and m rows of a group: so weighted,
    `8 ln 2 · distance · (sum of the weights)` follows χ² with the sum of the groups' degrees. Groups with too few rows
    to tell are left out.
    """
    from scipy.special import chdtri

    from slipway.data.validation.comparators import jensen_shannon  # it imports DuckDB, which a page has no need of

    rows = int(now.sum()), int(before.sum())
    weights, distances, ratio, degrees = [], [], 0.0, 0
    for mine, theirs in zip(now.astype(float), before.astype(float), strict=True):
        if not mine.sum() or not theirs.sum():
            continue
        first, second = pool(mine, theirs)
        if len(first) > 1:
            weights.append(mine.sum() * theirs.sum() / (mine.sum() + theirs.sum()))
            distances.append(jensen_shannon(first, second))
            ratio += likelihood_ratio(first, second)
            degrees += len(first) - 1
    if not degrees:
        return Distance(distance=0.0, noise=math.inf, threshold=threshold, rows=rows)
    distance = float(np.average(distances, weights=weights))
    scale = 8 * math.log(2) * sum(weights)
    noise = float(chdtri(degrees, ERROR_RATE / max(1, columns))) / scale
    if distance > noise:
        noise *= max(1.0, distance * scale / ratio)
    return Distance(distance=distance, noise=noise, threshold=threshold, rows=rows)


def likelihood_ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Twice the logarithm of how much likelier two distributions make these counts than one; no cell is empty in both.

    It follows χ² as the distance does.
    """
    shares = (first + second) / (first.sum() + second.sum())
    ratio = 0.0
    for side in (first, second):
        present = side > 0
        ratio += float(np.sum(side[present] * np.log(side[present] / side.sum() / shares[present])))
    return 2 * ratio


def pool(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The counts with rare cells put together, so that each has an expected count of 5 or more on both sides.

    What is expected is the share of a cell in both, of the smaller side's rows. Empty cells are left out.
    """
    both = first + second
    expected = both / both.sum() * min(first.sum(), second.sum())
    kept = expected >= LEAST_EXPECTED
    rare = (~kept) & (both > 0)
    if not rare.any():
        return first[kept], second[kept]
    pooled = (np.append(first[kept], first[rare].sum()), np.append(second[kept], second[rare].sum()))
    if expected[rare].sum() < LEAST_EXPECTED and kept.any():  # too few even together: into the smallest kept cell
        smallest = int(np.argmin(both[kept]))
        for side in pooled:
            side[smallest] += side[-1]
        return pooled[0][:-1], pooled[1][:-1]
    return pooled
