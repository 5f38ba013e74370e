"""The search: draws, judges, remembers, and ends at the first bound.

Everything but the clock's bound follows from the seed, the space and the data, so a search that was killed goes on as
if it had not been.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from slipway.errors import ModuleError, TrainingError
from slipway.module_api import Tuning
from slipway.pages.numbers import format_number, format_seconds
from slipway.tuning.budget import Budget
from slipway.tuning.confirming import SEEDS, Confirming
from slipway.tuning.goal import Goal
from slipway.tuning.halving import falls_behind
from slipway.tuning.judge import Judge
from slipway.tuning.sampler import draw
from slipway.tuning.space import Space, Values
from slipway.tuning.trials import Trial, TrialFiles, name_trial

# The rule by which trials are drawn, judged and pruned; change it with the rule, so that trials of two are never mixed.
RULE = 2  # since docs/decisions/0048-rows-that-choose-an-epoch-do-not-judge-it.md
Ended = Literal["target", "trials", "seconds", "patience", "reused"]
log = logging.getLogger(__name__)


class PrunedError(Exception):
    """A trial fell behind at a rung."""


class OutOfTimeError(Exception):
    """The seconds of the search are over."""


class Found(BaseModel):
    """The end of a search: why it ended, the winner, its value with the first seed and its mean over further ones.

    `seeds` is how many further ones there was time for. `confirmed` are the means of all trials with them,
    `unconfirmed` the other finalists.
    """

    ended: Ended
    winner: int
    values: Values
    first: float | None
    seeds: int
    value: float | None = None
    trials: list[Trial]
    confirmed: dict[int, float]
    unconfirmed: list[int]


class Search:
    """One search. `tell` takes a line on how far it is, after each training."""

    def __init__(
        self, tuning: Tuning, goal: Goal, space: Space, own: Values, seed: int, files: TrialFiles, budget: Budget,
        judge: Judge, tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._tuning, self._goal, self._space, self._own, self._seed = tuning, goal, space, own, seed
        self._files, self._budget, self._judge, self._tell = files, budget, judge, tell
        self._confirming = Confirming(goal, seed, files, budget, judge, tell)
        self._done: list[Trial] = []

    def run(self) -> Found:
        """Goes on where the last search of these files ended.

        Raises:
            ModuleError: module.yaml's own values cannot be trained.
            TrainingError: no trial can.
        """
        ended = self._try_all()
        winner, seeds = (self._done[-1], SEEDS) if ended == "target" else self._confirming.choose(self._done)
        finalists = [] if ended == "target" else self._confirming.best(self._done)
        means = self._confirming.means(seeds)
        return Found(
            ended=ended,
            winner=winner.number,
            values=winner.values,
            first=winner.value,
            seeds=seeds,
            value=means.get(winner.number),
            trials=self._done,
            confirmed={number: mean for number, mean in means.items() if mean is not None},
            unconfirmed=[one.number for one in finalists if seeds and one.number not in means],
        )

    def _try_all(self) -> Ended:
        best: Trial | None = None
        for number in range(self._tuning.trials):
            trial = self._files.trial(number)
            if trial is None:
                try:
                    trial = self._try(number)
                except OutOfTimeError:
                    return "seconds"
            self._done.append(trial)
            if best is None or self._goal.cost(trial.value) < self._goal.cost(best.value):
                best = trial
            self._tell(self._line(best))
            # Another trial of the same values would tell nothing new.
            is_new = all(one.values != trial.values for one in self._done[:number])
            if self._goal.met(trial.value) and is_new and self._confirming.is_target_met(trial):
                return "target"
            if 0 < self._tuning.patience <= number - best.number:
                return "patience"
        return "trials"

    def _try(self, number: int) -> Trial:
        """Draws a trial and judges it; its file is written when it is through."""
        left = self._left_for_trials()
        deadline = None if left is None else time.monotonic() + left
        self._check(deadline)
        with self._budget.training(name_trial(number)):
            trial = self._judged(number, deadline)
        self._files.write(trial)
        return trial

    def _judged(self, number: int, deadline: float | None) -> Trial:
        trial = Trial(number=number, state="failed", values=Values(), seed=self._seed)
        rungs: dict[int, float] = {}

        def at_rung(epoch: int, value: float) -> None:
            rungs[epoch] = value
            earlier = [self._goal.cost(one.rungs[epoch]) for one in self._done if epoch in one.rungs]
            if self._tuning.pruning and falls_behind(self._goal.cost(value), earlier):
                raise PrunedError

        try:
            trial = draw(self._space, number, self._seed, self._own, self._done, costs(self._done, self._goal))
            same = next((one for one in self._done if one.values == trial.values), None)
            if same is not None:
                told: dict[str, Any] = same.model_dump(include={"state", "value", "folds", "epochs", "rungs"})
                return trial.model_copy(update={**told, "reason": f"the values of trial {same.number}"})
            self._budget.check_deaths(name_trial(number))
            judged = self._judge(trial.values, self._seed, at_rung, lambda: self._check(deadline))
        except PrunedError:
            where = f"behind after epoch {max(rungs)}"
            return trial.model_copy(update={"state": "pruned", "rungs": rungs, "reason": where})
        except (ModuleError, TrainingError) as error:
            if number == 0 and isinstance(error, ModuleError):
                raise  # the module is wrong, not a value that was drawn
            log.warning("trial %d failed: %s", number, error)
            return trial.model_copy(update={"rungs": rungs, "reason": str(error)})
        mean = statistics.fmean(judged.folds)
        found = {"state": "complete", "rungs": rungs, "folds": judged.folds, "epochs": judged.epochs, "value": mean}
        return trial.model_copy(update=found)

    def _left_for_trials(self) -> float | None:
        left = self._budget.left()
        return None if left is None else left - self._confirming.seconds(self._done)

    def _check(self, deadline: float | None) -> None:
        """Raises OutOfTimeError after the deadline; the first trial is judged whatever it takes."""
        if deadline is not None and self._done and time.monotonic() >= deadline:
            raise OutOfTimeError

    def _line(self, best: Trial) -> str:
        """`trial 7 of 20, best val_loss 0.2131 (trial 4), about 2 min 10 s left`."""
        done, bound = len(self._done), self._left_for_trials()
        spent = sum(self._budget.took(name_trial(one.number)) for one in self._done)
        left = spent / done * (self._tuning.trials - done)
        if bound is not None:
            left = min(left, max(bound, 0.0))
        left += self._confirming.seconds(self._done)
        known = f", best {self._goal.metric} {format_number(best.value)} (trial {best.number})"
        return f"trial {done} of {self._tuning.trials}{known}, about {format_seconds(left)} left"


def costs(trials: list[Trial], goal: Goal) -> dict[int, float]:
    """The cost of each trial that says something: its value's, or that of its last rung."""
    found: Mapping[int, float | None] = {
        one.number: one.value if one.state == "complete" else one.rungs.get(max(one.rungs, default=0))
        for one in trials
        if one.state != "failed"
    }
    return {number: goal.cost(value) for number, value in found.items() if value is not None}
