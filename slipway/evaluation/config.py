"""What evaluate_model is asked to judge by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from slipway.errors import ConfigError
from slipway.module_api import Label, Task, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

Engine = Literal["vectorised", "tfma"]

BINARY = (
    "auc", "auc_pr", "log_loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "calibration",
    "mean_prediction", "mean_label",
)  # fmt: skip
MULTICLASS = ("auc", "log_loss", "accuracy", "balanced_accuracy")
REGRESSION = (
    "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r_squared", "calibration",
    "mean_prediction", "mean_label",
)  # fmt: skip
METRICS: dict[Task, tuple[str, ...]] = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}
EXAMPLE_COUNT = "example_count"

LOWER_IS_BETTER = frozenset({"log_loss", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error"})
HIGHER_IS_BETTER = frozenset(
    {"auc", "auc_pr", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "r_squared"}
)


class EvaluationConfig(BaseModel):
    """Parsed from a task parameter: the parts of `module.yaml` that concern evaluation, and the platform's engine.

    Every threshold names a metric of the task. `max_drop` needs a metric with a better direction; `calibration` has
    one too: the distance from 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    label: Label
    classes: tuple[str, ...] = ()
    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    engine: Engine = "vectorised"

    @model_validator(mode="after")
    def _thresholds_fit_the_task(self) -> Self:
        known = (*METRICS[self.task], EXAMPLE_COUNT)
        for threshold in self.thresholds:
            if threshold.metric not in known:
                raise ValueError(
                    f"threshold on {threshold.metric}: no metric of a {self.task} module; "
                    f"choose one of {', '.join(known)}"
                )
            if threshold.max_drop is not None and not has_direction(threshold.metric):
                raise ValueError(
                    f"max_drop on {threshold.metric}: neither more nor less of it is better; use min or max"
                )
            if threshold.max_drop is not None and threshold.max_drop < 0:
                raise ValueError(f"max_drop on {threshold.metric} is {threshold.max_drop}; it is 0 or more")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """As `ModuleConfig.class_names`."""
        if self.task == "binary" and not self.classes:
            return ("false", "true")
        return self.classes

    @property
    def slice_specs(self) -> list[tuple[str, ...]]:
        """Columns of every slice to compute: those listed and those that thresholds name, each once."""
        wanted: Sequence[tuple[str, ...]] = [*self.slices, *(t.slice for t in self.thresholds if t.slice)]
        return list(dict.fromkeys(wanted))


def parse_evaluation_config(values: dict[str, Any]) -> EvaluationConfig:
    """The configuration out of a module's values.

    Raises:
        ConfigError: a threshold does not fit the task.
    """
    try:
        return EvaluationConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ConfigError(f"module.yaml, evaluation: {problems}") from error


def has_direction(metric: str) -> bool:
    """Whether one value of the metric can be worse than another."""
    return metric == "calibration" or metric in LOWER_IS_BETTER | HIGHER_IS_BETTER
