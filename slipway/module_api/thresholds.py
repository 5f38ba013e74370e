"""`thresholds` of `module.yaml`: what a version must reach."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from slipway.module_api.base import Strict


class Threshold(Strict):
    """One condition on a metric.

    `min` and `max` are absolute. `max_drop` bounds how much worse than the production model the candidate may be, in
    the direction that is worse for this metric; and than the best of the last five that served. Refused is a drop that
    is larger by more than chance, or that may be twice as large for all that the rows tell (one-sided 95 % bounds);
    with `max_drop: 0` any drop that is measured. Without `slice` a threshold holds overall; with `slice` it holds on
    every value of these columns (a cross when several) that has at least `min_examples` examples.

    `decision` moves the 0.5 of accuracy, balanced_accuracy, precision, recall and f1. `at_precision` takes the recall
    at the lowest score from which on the precision over all rows is at least so; on slices the same score holds.
    `of_class` takes a binary metric of one class of a multiclass module.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    decision: float | None = Field(None, gt=0, lt=1, description="predicted positive is a probability above this")
    at_precision: float | None = Field(None, gt=0, le=1, description="of recall: at the lowest score that reaches it")
    of_class: str | None = Field(None, description="multiclass: this class against the rest")
    slice: tuple[str, ...] = ()
    min_examples: int = Field(100, ge=1)

    @property
    def name(self) -> str:
        """`recall at decision 0.3`, `f1 of class virginica`."""
        of = f" of class {self.of_class}" if self.of_class is not None else ""
        decided = f" at decision {self.decision}" if self.decision is not None else ""
        precise = f" at precision {self.at_precision}" if self.at_precision is not None else ""
        return f"{self.metric}{of}{decided}{precise}"

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None and self.max_drop is None:
            raise ValueError(f"threshold on {self.metric} has no bound: give min, max or max_drop")
        return self
