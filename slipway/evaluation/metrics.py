"""Metrics of every slice at once: rows are sorted by score once, and every sum is one `np.bincount`.

A metric is a float64 array with one number per slice. NaN means undefined: the denominator is zero, or the slice holds
an invalid prediction. A row of weight 2 counts as two alike, but in `example_count`. Definitions are those of
scikit-learn and of TensorFlow Model Analysis, which agree except where a docstring says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.evaluation.metric import EXAMPLE_COUNT, MEAN_LABEL, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from slipway.evaluation.slices import Slicing
    from slipway.module_api import Task

    Floats = NDArray[np.float64]
    Metrics = dict[str, Floats]
    Sums = dict[str, Floats]  # over the rows of each slice, [slices] or [slices, classes]

# scikit-learn clips float32 probabilities so; Keras to 1e-7. A saturated wrong answer costs 15.9.
EPSILON = float(np.finfo(np.float32).eps)
CUT = 0.5
ROWS, COUNT, INVALID, LABELS, SPREAD = "rows", "count", "invalid", "labels", "spread"  # keys of sums
OF_LABELS = (MEAN_LABEL, EXAMPLE_COUNT)  # defined whatever the predictions are


def invalid_predictions(task: Task, predictions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """`[N]`: predictions that are not finite or, in classification, not a probability."""
    flat = predictions.reshape(len(predictions), -1)
    good = np.isfinite(flat)
    if task != "regression":
        good = good & (flat >= -EPSILON) & (flat <= 1 + EPSILON)
    return np.asarray(~good.all(axis=1))


def compute_metrics(
    task: Task,
    labels: NDArray[Any],
    predictions: NDArray[np.float32],
    slicings: list[Slicing],
    weights: Floats | None = None,
) -> list[Metrics]:
    """Metrics by name, for each slicing; `labels` as `encode_labels` gives them, predictions `[N]` or `[N, K]`.

    Weights are above 0; without them rows count alike.
    """
    rankings = [Ranking(*one) for one in ranked(task, labels, predictions)]
    of_groups = sum_rows(task, labels, predictions)
    results: list[Metrics] = []
    for slicing in slicings:
        groups = Groups(slicing.codes, len(slicing.values), weights)
        results.append(derive_metrics(task, of_groups(groups), [ranking.areas(groups) for ranking in rankings]))
    return results


def sum_rows(task: Task, labels: NDArray[Any], predictions: NDArray[np.float32]) -> Callable[[Groups], Sums]:
    """What `derive_metrics` needs of rows in groups; sums of other rows are added by `add_sums`."""
    invalid = invalid_predictions(task, predictions)
    of_task = _SUMS[task](labels, without_invalid(predictions, invalid))
    return lambda groups: {
        ROWS: groups.rows, COUNT: groups.count, INVALID: groups.sum(invalid), **of_task(groups)
    }  # fmt: skip


def add_sums(one: Sums, other: Sums) -> Sums:
    """The sums of both; squares around a mean add up with the distance of the means (Chan, Golub and LeVeque, 1979)."""
    both = {name: values + other[name] for name, values in one.items()}
    if SPREAD in both:
        apart = _ratio(one[LABELS], one[COUNT]) - _ratio(other[LABELS], other[COUNT])
        both[SPREAD] += np.nan_to_num(apart**2 * _ratio(one[COUNT] * other[COUNT], both[COUNT]))
    return both


def derive_metrics(task: Task, sums: Sums, areas: Sequence[tuple[Floats, Floats]]) -> Metrics:
    """Metrics of slices from the sums over their rows, and from the areas of each of `ranked`."""
    metrics = _DERIVE[task](sums, areas) | {EXAMPLE_COUNT: sums[ROWS]}
    for name in metrics.keys() - OF_LABELS:
        metrics[name][sums[INVALID] > 0] = np.nan
    return {metric.name: metrics[metric.name] for metric in METRICS[task]}


def ranked(
    task: Task, labels: NDArray[Any], predictions: NDArray[np.float32]
) -> list[tuple[Floats, NDArray[np.float32]]]:
    """Labels of 0 and 1 and scores, of which AUC is asked: of a class, or of each against the rest."""
    clean = without_invalid(predictions, invalid_predictions(task, predictions))
    if task == "binary":
        return [(labels.astype(np.float64), clean)]
    if task == "multiclass":
        return [((labels == k).astype(np.float64), clean[:, k]) for k in range(clean.shape[1])]
    return []


def without_invalid(predictions: NDArray[np.float32], invalid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The predictions with 0 in the place of those that are invalid."""
    return np.where(invalid.reshape(-1, *[1] * (predictions.ndim - 1)), np.float32(0), predictions)


class Groups:
    """Rows by slice: `codes[row]` is the slice, one of `size`; `count` is the sum of a slice's weights."""

    def __init__(self, codes: NDArray[np.int64], size: int, weights: Floats | None = None) -> None:
        self.codes, self.size = codes, size
        self.weights = np.ones(len(codes)) if weights is None else weights
        self.rows = np.bincount(codes, minlength=size).astype(np.float64)
        self.count = self.rows if weights is None else self.sum(1)

    def sum(self, values: NDArray[Any] | int) -> Floats:
        """The weighted sum of each slice."""
        return np.bincount(self.codes, values * self.weights, minlength=self.size).astype(np.float64)

    def mean(self, values: NDArray[Any]) -> Floats:
        """The mean of each slice."""
        return _ratio(self.sum(values), self.count)

    def variance_of_mean(self, values: NDArray[Any]) -> Floats:
        """The square of the standard error of each slice's mean; infinite on a single row.

        A weight does not make two rows of one: with weights it is that of a ratio of sums over the rows (Cochran,
        Sampling Techniques, 1977, 6.4).
        """
        off = values - self.mean(values)[self.codes]
        below = self.count**2 * (self.rows - 1)
        above = self.sum(self.weights * off**2) * self.rows
        variance: Floats = np.divide(above, below, out=np.full(self.size, np.inf), where=below > 0)
        return variance

    @property
    def effective_rows(self) -> Floats:
        """As many rows of equal weight tell as much as those of each slice (Kish, Survey Sampling, 1965, 11.7)."""
        return _ratio(self.count**2, self.sum(self.weights))


def _sum_binary(labels: NDArray[Any], predictions: NDArray[Any]) -> Callable[[Groups], Sums]:
    labels, scores = labels.astype(np.float64), predictions.astype(np.float64)
    above = (scores > CUT).astype(np.float64)
    rows = {LABELS: labels, "scores": scores, "chosen": above, "hits": labels * above}
    rows["losses"] = log_losses(labels, predictions)
    return lambda groups: {name: groups.sum(values) for name, values in rows.items()}


def _derive_binary(sums: Sums, areas: Sequence[tuple[Floats, Floats]]) -> Metrics:
    """Labels 0 and 1, predictions the probability of 1; predicted positive is a score above 0.5.

    Formulas: https://en.wikipedia.org/wiki/Confusion_matrix. Calibration is TFMA's `Calibration`, the mean prediction
    by the mean label.
    """
    count, positives, chosen, hits = sums[COUNT], sums[LABELS], sums["chosen"], sums["hits"]
    [(auc, auc_pr)] = areas
    negatives = count - positives
    rejected = negatives - (chosen - hits)
    return {
        "auc": auc,
        "auc_pr": auc_pr,
        "log_loss": _ratio(sums["losses"], count),
        "accuracy": _ratio(hits + rejected, count),
        "balanced_accuracy": (_ratio(hits, positives) + _ratio(rejected, negatives)) / 2,
        "precision": _ratio(hits, chosen),
        "recall": _ratio(hits, positives),
        "f1": _ratio(2 * hits, positives + chosen),
        "calibration": _ratio(sums["scores"], positives),
        "mean_prediction": _ratio(sums["scores"], count),
        "mean_label": _ratio(positives, count),
    }


def _sum_multiclass(labels: NDArray[Any], predictions: NDArray[Any]) -> Callable[[Groups], Sums]:
    labels, classes = labels.astype(np.int64), predictions.shape[1]
    losses, right, best = log_losses(labels, predictions), are_right(labels, predictions), predictions.argmax(axis=1)

    def measure(groups: Groups) -> Sums:
        cells, chosen = (
            Groups(groups.codes * classes + of, groups.size * classes, groups.weights) for of in (labels, best)
        )
        by_class = {"of_class": cells.count, "right_of_class": cells.sum(right), "chosen": chosen.count}
        return {
            "losses": groups.sum(losses),
            "right": groups.sum(right),
            **{name: values.reshape(groups.size, classes) for name, values in by_class.items()},
        }

    return measure


def _derive_multiclass(sums: Sums, areas: Sequence[tuple[Floats, Floats]]) -> Metrics:
    """Labels are class indices, predictions `[N, K]` probabilities.

    AUC is one class against the rest, averaged over the classes for which it is defined in the slice. Balanced accuracy
    is the recall averaged over the classes that the slice's labels have, as in scikit-learn (whose AUC refuses where a
    class is absent); macro F1 is averaged over those that its labels or its predictions have.
    """
    right = sums["right_of_class"]
    return {
        "auc": mean_defined(np.stack([auc for auc, _ in areas], axis=1)),
        "log_loss": _ratio(sums["losses"], sums[COUNT]),
        "accuracy": _ratio(sums["right"], sums[COUNT]),
        "balanced_accuracy": mean_defined(_ratio(right, sums["of_class"])),
        "macro_f1": mean_defined(_ratio(2 * right, sums["of_class"] + sums["chosen"])),
    }


def _sum_regression(labels: NDArray[Any], predictions: NDArray[Any]) -> Callable[[Groups], Sums]:
    errors, labels = _errors(labels, predictions), labels.astype(np.float64)
    rows = {LABELS: labels, "predictions": predictions.astype(np.float64)}
    rows |= {"absolute": np.abs(errors), "squared": errors**2}

    def measure(groups: Groups) -> Sums:
        sums = {name: groups.sum(values) for name, values in rows.items()}
        means = _ratio(sums[LABELS], groups.count)
        return sums | {SPREAD: groups.sum((labels - means[groups.codes]) ** 2)}

    return measure


def _derive_regression(sums: Sums, areas: Sequence[tuple[Floats, Floats]]) -> Metrics:
    """R² is 1 - SSE / SST, scikit-learn's `r2_score`; undefined where all labels are equal."""
    count = sums[COUNT]
    squares = _ratio(sums["squared"], count)
    return {
        "mean_absolute_error": _ratio(sums["absolute"], count),
        "mean_squared_error": squares,
        "root_mean_squared_error": np.sqrt(squares),
        "r_squared": 1 - _ratio(squares, _ratio(sums[SPREAD], count)),
        "calibration": _ratio(sums["predictions"], sums[LABELS]),
        "mean_prediction": _ratio(sums["predictions"], count),
        "mean_label": _ratio(sums[LABELS], count),
    }


def are_right(labels: NDArray[Any], predictions: NDArray[Any]) -> Floats:
    """1 where the predicted class is the label's, else 0: the mean is the accuracy."""
    found = predictions > CUT if predictions.ndim == 1 else predictions.argmax(axis=1)
    return np.asarray(found == labels, np.float64)


def log_losses(labels: NDArray[Any], predictions: NDArray[Any]) -> Floats:
    """Minus the logarithm of the probability of each row's label."""
    if predictions.ndim == 1:
        clipped = np.clip(predictions.astype(np.float64), EPSILON, 1 - EPSILON)
        losses: Floats = -np.where(labels > 0, np.log(clipped), np.log1p(-clipped))
        return losses
    own = predictions[np.arange(len(labels)), labels.astype(np.int64)].astype(np.float64)
    return np.asarray(-np.log(np.clip(own, EPSILON, 1 - EPSILON)))


def _errors(labels: NDArray[Any], predictions: NDArray[Any]) -> Floats:
    return np.asarray(predictions.astype(np.float64) - labels.astype(np.float64))


# The metrics that are means over rows, with what they are the mean of.
ROW_VALUES: dict[str, Callable[[NDArray[Any], NDArray[Any]], Floats]] = {
    "accuracy": are_right,
    "log_loss": log_losses,
    "mean_absolute_error": lambda labels, predictions: np.abs(_errors(labels, predictions)),
    "mean_squared_error": lambda labels, predictions: _errors(labels, predictions) ** 2,
}


class Ranking:
    """Rows sorted by falling score, to integrate over thresholds within any slice."""

    def __init__(self, labels: Floats, scores: NDArray[Any]) -> None:
        self.order = np.argsort(-scores)
        self.labels = labels[self.order]
        self.scores = scores[self.order]

    def areas(self, groups: Groups) -> tuple[Floats, Floats]:
        """The areas of every slice, as `integrate` has them."""
        if not len(groups.codes):
            return np.full(groups.size, np.nan), np.full(groups.size, np.nan)
        sliced = groups.codes[self.order]
        # NumPy sorts 16-bit integers by radix, in linear time.
        by_slice = np.argsort(sliced.astype(np.uint16) if groups.size <= 1 << 16 else sliced, kind="stable")
        weights = groups.weights[self.order][by_slice]
        sliced, labels, scores = sliced[by_slice], self.labels[by_slice], self.scores[by_slice]
        new = np.concatenate([[True], (sliced[1:] != sliced[:-1]) | (scores[1:] != scores[:-1])])
        starts = np.flatnonzero(new)
        tied = np.add.reduceat(labels * weights, starts), np.add.reduceat(weights, starts)
        return integrate([(sliced[starts], *tied)], groups.size)


def integrate(ties: Iterable[tuple[NDArray[np.int64], Floats, Floats]], size: int) -> tuple[Floats, Floats]:
    """Area under the ROC curve, and average precision, of every slice.

    AUC counts the pairs of a positive and a negative that are ranked rightly, ties by half (Hanley and McNeil,
    1982, https://doi.org/10.1148/radiology.143.1.7063747): scikit-learn's `roc_auc_score`. The area under the
    precision-recall curve is scikit-learn's `average_precision_score`, sum of (R_n - R_n-1) P_n; TFMA's own
    interpolates between the thresholds instead, and gives 0.19 for 0.33 where positives are few.

    Args:
        ties: Slice, positives and all of the rows that share a score: by slice and falling score, in parts.
        size: How many slices there are.
    """
    all_positives, count, pairs, precise = (np.zeros(size) for _ in range(4))
    for codes, positives, total in ties:
        first = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
        runs = np.diff(np.append(first, len(codes)))

        def up_to(values: Floats, before: Floats, codes: Any = codes, first: Any = first, runs: Any = runs) -> Floats:
            summed = np.cumsum(values)
            at_start: Floats = summed[first] - values[first] - before[codes[first]]
            return np.asarray(summed - np.repeat(at_start, runs))

        above, seen = up_to(positives, all_positives), up_to(total, count)
        pairs += np.bincount(codes, (total - positives) * (above - positives / 2), size)
        precise += np.bincount(codes, positives * above / seen, size)
        all_positives += np.bincount(codes, positives, size)
        count += np.bincount(codes, total, size)
    return _ratio(pairs, all_positives * (count - all_positives)), _ratio(precise, all_positives)


_SUMS: dict[Task, Callable[[NDArray[Any], NDArray[Any]], Callable[[Groups], Sums]]] = {
    "binary": _sum_binary,
    "multiclass": _sum_multiclass,
    "regression": _sum_regression,
}
_DERIVE: dict[Task, Callable[[Sums, Sequence[tuple[Floats, Floats]]], Metrics]] = {
    "binary": _derive_binary,
    "multiclass": _derive_multiclass,
    "regression": _derive_regression,
}


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
    return ratio


def mean_defined(values: Floats) -> Floats:
    """The mean over the last axis without NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
