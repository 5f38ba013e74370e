"""What trains with some values, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.tuning.space import Values


@dataclass
class Judged:
    """What trainings gave: the metric on each fold, and the epoch whose weights train_model would keep."""

    folds: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


# Trains with some values and a seed. After each rung of the first fold it calls back with epoch and metric, and often
# with nothing, to learn whether it is out of time; both may raise.
Judge = Callable[[Values, int, Callable[[int, float], None], Callable[[], None]], Judged]
