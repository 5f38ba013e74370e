"""The parameter of evaluate_model: the conditions by which a model is judged."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from slipway.errors import ConfigError
from slipway.evaluation.metric import BEST, DECIDED, METRICS
from slipway.module_api import LabelledTask, OwnMetrics, Threshold
from slipway.strict_yaml import did_you_mean

Engine = Literal["vectorised", "tfma"]
OF_MODULE = {"task", "label", "classes", "slices", "thresholds", "metrics"}  # keys of `module.yaml`


class EvaluationConfig(LabelledTask):
    """The parts of `module.yaml` that concern evaluation, and the platform's engine.

    Every threshold names a metric of the task. `max_drop` needs a metric with a better direction.
    """

    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    metrics: OwnMetrics = Field(default_factory=dict)
    engine: Engine = "vectorised"

    @model_validator(mode="after")
    def _thresholds_fit_the_task(self) -> Self:
        for own in self.metrics:
            if own in BEST:
                raise ValueError(f"metrics names {own!r}, which is built in; give yours another name")
        for threshold in self.thresholds:
            name, drop = threshold.metric, threshold.max_drop
            of_class = threshold.of_class is not None
            known: list[str] = [metric.name for metric in METRICS["binary" if of_class else self.task]]
            known += [] if of_class else list(self.metrics)
            if problem := self._misplaced(threshold):
                raise ValueError(f"threshold on {threshold.name}: {problem}")
            if name not in known:
                raise ValueError(
                    f"threshold on {name}: no metric of a {self.task} module{did_you_mean(name, known)}; choose one of "
                    f"{', '.join(known)}, or declare your own under metrics"
                )
            if drop is not None and name not in self.metrics and not BEST[name]:
                raise ValueError(f"max_drop on {name}: neither more nor less of it is better; use min or max")
            if drop is not None and drop < 0:
                raise ValueError(f"max_drop on {name} is {drop}; it is 0 or more")
        return self

    def _misplaced(self, threshold: Threshold) -> str:
        """What is wrong with `of_class`, `decision` and `at_precision`; empty if nothing is."""
        wanted, decided = threshold.of_class, threshold.decision is not None
        if wanted is not None and self.task != "multiclass":
            return f"of_class is for multiclass modules, and this one is {self.task}"
        if wanted is not None and wanted not in self.class_names:
            return f"there is no class {wanted!r}; choose one of {', '.join(self.class_names)}"
        precise = threshold.at_precision is not None
        if (decided or precise) and wanted is None and self.task != "binary":
            return f"a {self.task} module has no decision threshold" + (
                "; name a class: of_class" if self.task == "multiclass" else ""
            )
        if decided and precise:
            return "decision and at_precision exclude each other; leave one out"
        if precise and threshold.metric != "recall":
            return "at_precision is for recall"
        if decided and threshold.metric not in DECIDED:
            return f"it does not depend on a decision; decision is for {', '.join(DECIDED)}"
        return ""

    @property
    def slice_specs(self) -> list[tuple[str, ...]]:
        """The columns of every slicing to compute, each once: those of `slices` and those of thresholds."""
        return list(dict.fromkeys([*self.slices, *(one.slice for one in self.thresholds if one.slice)]))

    @property
    def slice_columns(self) -> list[str]:
        """Every column that is sliced on."""
        return list(dict.fromkeys(name for spec in self.slice_specs for name in spec))


def parse_evaluation_config(values: dict[str, Any]) -> EvaluationConfig:
    """The configuration from a module's values; raises ConfigError where a threshold does not fit the task."""
    try:
        return EvaluationConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ConfigError(f"module.yaml, evaluation: {problems}") from error
