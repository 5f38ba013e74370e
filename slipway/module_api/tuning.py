"""`hyperparameters`, `search_space` and `tuning` of `module.yaml`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from slipway.module_api.base import Strict


def _checked_hyperparameter(value: Any) -> Any:
    """Refuses values that JSON lacks: hyperparameters travel as JSON text."""
    problem = ""
    if value is None:
        problem = "null is not allowed; leave the key out"
    elif isinstance(value, float) and not math.isfinite(value):
        problem = "a hyperparameter must be finite"
    elif isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        problem = "keys must be text: put them in quotes"
    elif not isinstance(value, str | int | float | list | dict):
        problem = f"JSON has no {type(value).__name__}: write it as text, in quotes"
    if problem:
        raise PydanticCustomError("hyperparameter", "{problem}", {"problem": problem})
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _checked_hyperparameter(item)
    return value


Hyperparameters = dict[str, Annotated[Any, AfterValidator(_checked_hyperparameter)]]


TUNED_TRAINING = ("epochs", "batch_size")


class Searched(Strict):
    """The values that the tuner may give to one hyperparameter: from `min` to `max`, or one of `choices`.

    Between whole numbers a value is whole, in steps of `step`; `log` draws evenly by magnitude. With `length: [1, 3]`
    the hyperparameter is a list of one to three such numbers. A choice may be a list, too.
    """

    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = Field(None, gt=0)
    log: bool = False
    length: tuple[int, int] | None = None
    choices: tuple[Annotated[Any, AfterValidator(_checked_hyperparameter)], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.min, int) and isinstance(self.max, int)

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        if self.choices:
            if self.log or any(one is not None for one in (self.min, self.max, self.step, self.length)):
                raise ValueError("give choices alone, or min and max")
            if any(one in self.choices[:index] for index, one in enumerate(self.choices)):
                raise ValueError("choices has a value twice; remove one")
        elif self.min is None or self.max is None:
            raise ValueError("give min and max, or choices: {min: 0.001, max: 0.1, log: true}, {choices: [relu, gelu]}")
        elif self.min >= self.max:
            raise ValueError(f"min is {self.min:g} and max is {self.max:g}; min must be smaller")
        elif self.log and (self.min <= 0 or self.step):
            why = "log and step exclude each other; remove one" if self.step else "log wants a min above 0"
            raise ValueError(f"min is {self.min:g}: {why}" if not self.step else why)
        elif self.whole and self.step and not float(self.step).is_integer():
            raise ValueError(f"step is {self.step:g} between whole numbers; write {self.min}.0, or a whole step")
        if self.length and not 0 < self.length[0] <= self.length[1]:
            raise ValueError(f"length is {list(self.length)}; write [fewest, most], the fewest at least 1")
        return self


class Tuning(Strict):
    """How long the tuner searches, and for what. The first bound that is reached ends the search.

    A trial is judged on rows held back from the training split: `training.held_back` of them, or k `folds` where that
    would be fewer than 1,000 rows. The best three, or as many as a third of `seconds` is enough for, are trained again
    with two further seeds, or fewer where there is no time, and the best of these wins. `metric` is `val_loss`, the
    model's own loss, or a metric of the task. `target` of it, met by a winner so confirmed, ends the search. With
    `pruning`, trials that fall behind are ended early by successive halving.
    """

    trials: int = Field(20, ge=1)
    seconds: float | None = Field(
        None, gt=0, description="of all trainings, also confirmations and those of a run before"
    )
    metric: str = "val_loss"
    target: float | None = None
    patience: int = Field(0, ge=0, description="trials without a better one before the search stops; 0 never stops so")
    pruning: bool = True
    folds: int | None = Field(
        None, ge=1, le=20, description="1 judges on the rows that are held back; by default by size"
    )
    every: Annotated[str, Field(pattern=r"^(new_data|never|[1-9][0-9]*[hd])$")] | None = Field(
        None,
        description="when other data is searched anew: new_data, or once the last winner is as old as 12h or 7d, or "
        "never; by default never for recurring runs, and new_data for others",
    )
