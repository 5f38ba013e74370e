"""What a search is for: a metric, which direction of it is better, and whether its target is met."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slipway.errors import ConfigError
from slipway.evaluation.metric import BEST, METRICS
from slipway.module_api import Better, Task
from slipway.pages.numbers import format_number
from slipway.strict_yaml import nearest

LOSS = "val_loss"


@dataclass(frozen=True)
class Goal:
    """`metric` on rows that are held back, `better` high or low, and the value to reach, if there is one."""

    metric: str
    better: Better
    target: float | None

    def cost(self, value: float | None) -> float:
        """A number that is lower for a better value, to sort by."""
        return math.inf if value is None else value if self.better == "low" else -value

    def met(self, value: float | None) -> bool:
        """Whether the target is reached."""
        return self.target is not None and self.cost(value) <= self.cost(self.target)

    def missing(self, value: float | None) -> str:
        """The distance to a target that is missed, in words; empty where none is."""
        if self.target is None or self.met(value):
            return ""
        wanted = f"{self.metric} {'at most' if self.better == 'low' else 'at least'} {format_number(self.target)}"
        if value is None:
            return f"the target, {wanted}, is missed"
        return f"the target, {wanted}, is missed by {format_number(abs(value - self.target))}"


def goal_of(task: Task, metric: str, target: float | None) -> Goal:
    """The goal of `tuning`; a ConfigError for a metric that the task lacks, or that has no better direction."""
    directions: dict[str, Better] = {LOSS: "low"}
    for one in METRICS[task]:
        if (best := BEST[one.name]) in ("high", "low"):
            directions[one.name] = best
    if metric not in directions:
        known = nearest(metric, directions)
        raise ConfigError(f"tuning.metric is {metric!r}, for which a {task} module cannot be tuned{known}")
    return Goal(metric, directions[metric], target)
