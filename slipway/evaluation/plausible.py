"""Whether a metric is too good to be true: most models that hardly ever err were given the outcome.

Named are an AUC, an accuracy of more than two classes or an R² of `NEARLY_PERFECT`, on as many rows as it takes for an
error to be likely to show: `MIN_ROWS`, and for AUC `MIN_OF_EACH` of either class. A warning: some problems are easy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from slipway.evaluation.metric import MEAN_LABEL
from slipway.evaluation.results import Check

if TYPE_CHECKING:
    from slipway.module_api import MetricName, Task

NEARLY_PERFECT = 0.995
MIN_ROWS, MIN_OF_EACH = 200, 20
_METRICS: dict[Task, MetricName] = {"binary": "auc", "multiclass": "accuracy", "regression": "r_squared"}


def check_plausible(task: Task, metrics: Mapping[str, float | None], examples: int) -> Iterator[Check]:
    """A check with a note where the model's overall metric is nearly perfect; nothing otherwise."""
    metric = _METRICS[task]
    value, positives = metrics[metric], (metrics.get(MEAN_LABEL) or 0.0) * examples
    if value is None or value < NEARLY_PERFECT or examples < MIN_ROWS:
        return
    if task == "binary" and min(positives, examples - positives) < MIN_OF_EACH:
        return
    yield Check(
        metric=metric, rule="plausible", bound=NEARLY_PERFECT, value=value, examples=examples, outcome="passed",
        note=f"{value:.4g} is nearly perfect: is a column known only after the outcome? Validation names what tells "
        "the label alone; `training_only: [COLUMN]` under `label` in module.yaml keeps one from the model",
    )  # fmt: skip
