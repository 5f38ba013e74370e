"""`slices.json`: what a page shows of each listed slice beyond its metrics.

- 95 % intervals of the candidate's metrics, by TFMA's Poisson bootstrap: each row counts a number of times drawn from
  Poisson(1), 20 times over; the interval is the value ± Student's quantile of 19 degrees of freedom times the standard
  deviation (Chamandy et al., Estimating Uncertainty for Massive Data Streams, 2012). Of more than `ROWS` rows a random
  part is drawn from, and deviations shrink by the root of its share. There is none where a sample leaves the metric
  undefined, or where all samples agree, as on a few rows that are all right: these say nothing of chance.
- Binary: rows by class between thresholds, so that a confusion matrix at any of them is a sum.
- Several classes: the confusion matrix. Regression: quantiles of the residuals, prediction less label.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from slipway.evaluation.metric import CANDIDATE, EXAMPLE_COUNT
from slipway.evaluation.metrics import compute_metrics, invalid_predictions
from slipway.evaluation.results import FIX, Count, SliceResult, name_slice
from slipway.evaluation.slices import Slicing
from slipway.stores import storage
from slipway.stores.artifacts import parse_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slipway.evaluation.results import Evaluation
    from slipway.evaluation.slices import Measured

    Floats = NDArray[np.float64]

FILE = "slices.json"
SAMPLES = 20  # TFMA's DEFAULT_NUM_BOOTSTRAP_SAMPLES
ROWS = 100_000
MANY_CLASSES = 20  # of more, a confusion matrix for each slice is too much to keep and to read
RESIDUALS = (0.05, 0.25, 0.5, 0.75, 0.95)
BELOW_ONE = frozenset({"auc", "auc_pr", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1",
                       "mean_prediction", "mean_label"})  # fmt: skip
NO_SPREAD = 1e-12  # the rounding of equal samples
_SEED = 7


class SliceDetail(BaseModel):
    """One slice; `overall` has no columns."""

    columns: list[str] = []
    values: list[str | None] = []
    intervals: dict[str, tuple[float, float]] = Field({}, description="by metric")
    scores: list[list[Count]] = Field(
        [], description="binary: of each class, rows up to the first threshold, between each two, above the last"
    )
    confusion: list[list[Count]] = Field([], description="of several classes: `[actual][predicted]`")
    residuals: list[float] = Field([], description=f"regression: the quantiles {RESIDUALS}")

    @property
    def name(self) -> str:
        """`payment_type=Cash`, or `overall`."""
        return name_slice(self.columns, self.values)


class SliceDetails(BaseModel):
    """The whole file."""

    resampled: int = Field(description="rows that were drawn from")
    thresholds: list[float] = []
    slices: list[SliceDetail] = Field(description="overall first, then those that the evaluation lists")


def describe_slices(judged: Evaluation, measured: Measured) -> SliceDetails:
    """The details of the slices that an evaluation lists; `measured` is what it was made of."""
    valid = ~invalid_predictions(judged.task, measured.answers[CANDIDATE])
    labels, scores = measured.labels[valid], measured.answers[CANDIDATE][valid].astype(np.float64)
    counted = np.ones(len(labels), np.int64) if measured.weights is None else measured.weights[valid]
    thresholds = _thresholds(scores) if judged.task == "binary" else []
    slicings = {one.columns: one for one in measured.slicings}
    places = {columns: {values: place for place, values in enumerate(one.values)} for columns, one in slicings.items()}
    deviations, resampled = _resample(judged, measured)
    details = []
    for row in [judged.overall, *judged.slices]:
        columns = tuple(row.columns)
        detail = SliceDetail(columns=row.columns, values=row.values)
        place = places[columns].get(tuple(row.values))
        if place is not None:  # Beam's sample may have no row of a small one
            rows = slicings[columns].codes[valid] == place
            detail.intervals = _intervals(row, {name: one[place] for name, one in deviations[columns].items()})
            _count(detail, judged, labels[rows], scores[rows], counted[rows], thresholds)
        details.append(detail)
    return SliceDetails(resampled=resampled, thresholds=thresholds, slices=details)


def write_slice_details(details: SliceDetails, folder: str | Path) -> None:
    """Writes `slices.json`, atomically."""
    storage.write_text(storage.join(str(folder), FILE), details.model_dump_json(exclude_defaults=True))


def read_slice_details(folder: str) -> SliceDetails | None:
    """The details in an artifact of evaluate_model, wherever it is; None in one of an older version."""
    uri = storage.join(folder, FILE)
    return parse_json(storage.read_bytes(uri), SliceDetails, uri, FIX) if storage.exists(uri) else None


def _resample(judged: Evaluation, measured: Measured) -> tuple[dict[tuple[str, ...], dict[str, Floats]], int]:
    """Standard deviations of each metric by slicing and slice, NaN where undefined; and the rows drawn from."""
    random = np.random.default_rng(_SEED)
    labels, answers, weights = measured.labels, measured.answers[CANDIDATE], measured.weights
    drawn = np.arange(len(labels))
    if len(labels) > ROWS:
        drawn = np.sort(random.choice(len(labels), ROWS, replace=False))
    found: list[list[dict[str, Floats]]] = []
    for _ in range(SAMPLES):
        times = random.poisson(1, len(drawn)).astype(np.float64)
        rows, times = drawn[times > 0], times[times > 0]
        slicings = [Slicing(one.columns, one.codes[rows], one.values) for one in measured.slicings]
        counting = times if weights is None else times * weights[rows]
        found.append(compute_metrics(judged.task, labels[rows], answers[rows], slicings, counting))
    shrink = np.sqrt(len(drawn) / max(judged.examples, 1))
    deviations = {
        one.columns: {
            name: np.std([sample[index][name] for sample in found], axis=0, ddof=1) * shrink
            for name in found[0][index]
            if name != EXAMPLE_COUNT
        }
        for index, one in enumerate(measured.slicings)
    }
    return deviations, len(drawn)


def _intervals(row: SliceResult, deviations: dict[str, float]) -> dict[str, tuple[float, float]]:
    from scipy.special import stdtrit

    reach, found = float(stdtrit(SAMPLES - 1, 0.975)), {}
    for name, deviation in deviations.items():
        value = row.candidate[name]
        if value is not None and np.isfinite(deviation) and deviation > NO_SPREAD:
            low, high = value - reach * deviation, value + reach * deviation
            if name in BELOW_ONE:
                low, high = max(low, 0.0), min(high, 1.0)
            found[name] = _short(low), _short(high)
    return found


def _count(
    detail: SliceDetail,
    judged: Evaluation,
    labels: NDArray[np.float64],
    scores: Floats,
    counted: NDArray[np.float64],
    thresholds: list[float],
) -> None:
    """Fills in what the task has; weights are added up, rows counted."""
    if judged.task == "binary":
        places = np.searchsorted(thresholds, scores, side="left")
        detail.scores = [_sums(places[labels == code], counted[labels == code], len(thresholds) + 1) for code in (0, 1)]
    elif judged.task == "regression":
        if len(scores):
            detail.residuals = [_short(float(one)) for one in np.quantile(scores - labels, RESIDUALS)]
    elif len(judged.classes) <= MANY_CLASSES:
        size = len(judged.classes)
        cells = labels.astype(np.int64) * size + scores.argmax(axis=1)
        detail.confusion = np.reshape(_sums(cells, counted, size * size), (size, size)).tolist()


def _sums(places: NDArray[np.int64], counted: NDArray[np.float64], size: int) -> list[Count]:
    sums = np.bincount(places, counted, minlength=size)
    if np.issubdtype(counted.dtype, np.integer):
        whole: list[Count] = sums.astype(np.int64).tolist()
        return whole
    return [_short(one) for one in sums.tolist()]


def _thresholds(scores: Floats) -> list[float]:
    """Hundredths from 0 to 1 and, since scores of rare events lie below the first, the scores' percentiles."""
    percentiles = np.quantile(scores, np.arange(1, 100) / 100) if len(scores) else np.array([])
    known = {round(place / 100, 2) for place in range(101)} | {_short(float(one)) for one in percentiles}
    return sorted(one for one in known if 0 <= one <= 1)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
