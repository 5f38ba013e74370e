"""What a window shows of one column: how far it moved, and whether it is broken at its source."""

from __future__ import annotations

import math
import re
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

from slipway.monitoring.counts import Counts, Outside, count, ranked
from slipway.monitoring.drift import ERROR_RATE, Distance, measure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

Role = Literal["input", "prediction", "label"]

# A name of which a part is one of these follows the clock: it moves each day and says nothing of the world.
_CLOCK = re.compile(
    r"(^|[_\s.-])(year|month|week|weekday|day|dayofweek|hour|minute|date|time|timestamp)([_\s.-]|$)", re.I
)
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$"
BROKEN_MISSING = 0.05  # rise of the share of missing values, or share of texts for numbers
# Units that are mixed up in practice: powers of ten, minutes, hours, days, miles, feet, inches, pounds, and back.
_FACTORS = [10.0**power for power in range(1, 7)] + [60.0, 3600.0, 24.0, 1.609344, 0.3048, 2.54, 0.45359237]
FACTORS = tuple(_FACTORS + [1 / factor for factor in _FACTORS])
# A world that moves may come near a small factor, such as fares that rise by half; then one beside it fits better. It
# takes thousands of rows to tell 1.5 from 1.609; on fewer such a move counts as drift as often as not.
SMALL, BESIDE = 4.0, (0.8, 0.87, 0.93, 1.07, 1.15, 1.25)
SHOWN = 5


class Column(BaseModel):
    """One column of a window, beside the training rows and the window before."""

    name: str
    role: Role = "input"
    baseline: Distance
    previous: Distance | None = None
    counts: Counts
    trained: Counts
    missing: tuple[float, float] = Field(description="shares: now, and in training")
    outside: Outside | None = Field(None, description="numbers outside the range of training; null in older baselines")
    new_values: dict[str, int] = Field({}, description="the most frequent values that training did not have")
    broken: str = Field("", description="what is wrong at the source, in words")
    decides: bool = Field(True, description="whether a move of it is a reason to train")

    @property
    def level(self) -> float:
        """1 at the distance from training that counts as drift."""
        bound = max(self.baseline.threshold, self.baseline.noise)
        return self.baseline.distance / bound if math.isfinite(bound) and bound else 0.0


def follows_clock(name: str) -> bool:
    """Whether a column is one of time, by its name."""
    return bool(_CLOCK.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)))


def compare_column(
    name: str,
    now: Counts,
    values: pa.ChunkedArray | pa.Array,
    trained: Counts,
    previous: Counts | None,
    *,
    threshold: float,
    columns: int,
    role: Role = "input",
    decides: bool | None = None,
) -> Column:
    """A column of a window against the training rows, and against the window before.

    Args:
        name: Of the column.
        now: Of the window, by the cells of training.
        values: Of the window, or a part of them: what is wrong with them is looked for here.
        trained: Of the training rows.
        previous: Of the window before, by the same cells.
        threshold: Of the Jensen-Shannon divergence.
        columns: How many columns are compared at once.
        role: What the column is.
        decides: Whether a move is a reason to train; by default, unless it follows the clock.
    """
    before = previous if previous and previous.cells == trained.cells else None
    distance = measure(now, trained, threshold, columns)
    decides = not follows_clock(name) if decides is None else decides
    of_time = follows_clock(name) and not decides
    return Column(
        name=name,
        role=role,
        baseline=distance,
        previous=measure(now, before, threshold, columns) if before else None,
        counts=now,
        trained=trained,
        missing=(now.missing_share, trained.missing_share),
        new_values=_new_values(values, trained) if trained.cells.kind == "category" else {},
        broken=_broken(values, now, trained, distance, columns, of_time=of_time),
        decides=decides,
    )


def _new_values(values: pa.ChunkedArray | pa.Array, trained: Counts) -> dict[str, int]:
    known = set(trained.cells.values)
    return dict([(value, many) for value, many in ranked(values) if value not in known][:SHOWN])


def _broken(
    values: pa.ChunkedArray | pa.Array,
    now: Counts,
    trained: Counts,
    distance: Distance,
    columns: int,
    *,
    of_time: bool,
) -> str:
    """What is wrong at the source: missing values, texts for numbers, one value only, another unit; else empty.

    A window has one month and, if it is a day, one weekday: for a column `of_time` that is right.
    """
    if not now.rows or not trained.rows:
        return ""
    was, is_now = trained.missing_share, now.missing_share
    spread = math.sqrt(max(was * (1 - was), 1 / trained.rows) * (1 / now.rows + 1 / trained.rows))
    if is_now - was > max(BROKEN_MISSING, NormalDist().inv_cdf(1 - ERROR_RATE / columns) * spread):
        return f"{is_now:.1%} of the values are missing, in training {was:.1%}"
    if trained.cells.kind == "number" and now.counts[-2] > BROKEN_MISSING * now.rows:
        return f"{now.counts[-2] / now.rows:.1%} of the values are no numbers"
    if of_time:
        return ""
    present = now.rows - now.counts[-1]
    most = _largest_share(trained)
    if _is_constant(values, present) and present * math.log(most) < math.log(ERROR_RATE / columns):
        return f"all {present:,} values are the same, in training at most {most:.1%} are"
    if trained.cells.kind == "number" and trained.cells.edges and distance.drifted:
        return _other_unit(values, trained, distance, columns)
    return ""


def _largest_share(trained: Counts) -> float:
    present = sum(trained.counts[:-1])
    return max(trained.counts[:-1]) / present if present else 1.0


def _is_constant(values: pa.ChunkedArray | pa.Array, present: int) -> bool:
    import pyarrow.compute as pc

    return present > 1 and pc.count_distinct(values, mode="only_valid").as_py() == 1


def _other_unit(values: pa.ChunkedArray | pa.Array, trained: Counts, distance: Distance, columns: int) -> str:
    """A factor of units by which the values look like those of training: most of what moved must be gone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    present = values.drop_null()
    if pa.types.is_string(present.type):  # a few texts among numbers, see `requests._join`
        present = present.filter(pc.match_substring_regex(present, _NUMBER))
    numbers = np.asarray(present.cast("float64", safe=False), np.float64)
    if not len(numbers):
        return ""

    def distance_by(factor: float) -> float:
        with np.errstate(over="ignore"):
            exact = numbers / factor + np.abs(numbers / factor) * 1e-9  # ties lie on edges: rounding must not part them
        scaled = pa.array(np.append(exact, [np.nan] * (len(values) - len(numbers))))
        return measure(count(scaled, trained.cells), trained, distance.threshold, columns).distance

    least, best = min((distance_by(factor), factor) for factor in FACTORS)
    if 1 / SMALL < best < SMALL and min(distance_by(best * near) for near in BESIDE) < least:
        return ""
    if least <= max(distance.threshold, distance.noise) and least < distance.distance / 4:
        times = f"{best:g} times" if best > 1 else f"1/{1 / best:g} of"
        return f"the values are {times} those of training: another unit?"
    return ""


def drift_level(columns: Iterable[Column]) -> float:
    """The largest level of a column that may decide."""
    return max((one.level for one in columns if one.decides and not one.broken), default=0.0)
