"""The search: draws, judges, remembers, and ends at the first bound.

Everything but the clock's bound follows from the seed, the space and the data, so a search that was killed goes on as
if it had not been.
"""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from slipway.errors import ModuleError, TrainingError
from slipway.module_api import Tuning
from slipway.pages.numbers import format_number, format_seconds
from slipway.tuning.budget import Budget
from slipway.tuning.goal import Goal
from slipway.tuning.halving import falls_behind
from slipway.tuning.sampler import draw
from slipway.tuning.space import Space, Values
from slipway.tuning.trials import Confirmation, Trial, TrialFiles, name_confirmation, name_trial

FINALISTS, SEEDS = 3, 2
# A training with which so many processes ended is not begun again.
DEATHS = 2
# Of the seconds of a search, at most so many are for confirming, beside those that it takes to confirm the best.
CONFIRMING = 1 / 3
# The rule by which trials are drawn, judged and pruned; change it with the rule, so that trials of two are never mixed.
RULE = 2  # since docs/decisions/0048-rows-that-choose-an-epoch-do-not-judge-it.md
Ended = Literal["target", "trials", "seconds", "patience", "reused"]
log = logging.getLogger(__name__)


class PrunedError(Exception):
    """A trial fell behind at a rung."""


class OutOfTimeError(Exception):
    """The seconds of the search are over."""


@dataclass
class Judged:
    """What trainings gave: the metric on each fold, and the epoch whose weights train_model would keep."""

    folds: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


# Trains with some values and a seed. After each rung of the first fold it calls back with epoch and metric, and often
# with nothing, to learn whether it is out of time; both may raise.
Judge = Callable[[Values, int, Callable[[int, float], None], Callable[[], None]], Judged]


class Found(BaseModel):
    """The end of a search: why it ended, the winner, its value with the first seed and its mean over further ones.

    `seeds` is how many further ones there was time for. `confirmed` are the means of all trials with as many,
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
        self._done: list[Trial] = []
        self._again: dict[int, list[Confirmation]] = {}

    def run(self) -> Found:
        """Goes on where the last search of these files ended.

        Raises:
            ModuleError: module.yaml's own values cannot be trained.
            TrainingError: no trial can.
        """
        ended, winner = self._try_all()
        finalists = [winner] if winner else self._best()
        if winner is None:
            winner = self._confirmed_best(finalists)
        seeds = len(self._again[winner.number])
        alike = {number: self._mean(number) for number, again in self._again.items() if seeds == len(again) > 0}
        return Found(
            ended=ended,
            winner=winner.number,
            values=winner.values,
            first=winner.value,
            seeds=seeds,
            value=alike.get(winner.number),
            trials=self._done,
            confirmed={number: mean for number, mean in alike.items() if mean is not None},
            unconfirmed=[one.number for one in finalists if seeds and one.number not in alike],
        )

    def _try_all(self) -> tuple[Ended, Trial | None]:
        best: Trial | None = None
        for number in range(self._tuning.trials):
            trial = self._files.trial(number)
            if trial is None:
                try:
                    trial = self._try(number)
                except OutOfTimeError:
                    return "seconds", None
            self._done.append(trial)
            if best is None or self._goal.cost(trial.value) < self._goal.cost(best.value):
                best = trial
            self._tell(self._line(best))
            if self._goal.met(trial.value) and self._is_target_met(trial):
                return "target", trial
            if 0 < self._tuning.patience <= number - best.number:
                return "patience", None
        return "trials", None

    def _is_target_met(self, trial: Trial) -> bool:
        """Whether all further seeds say so too; another trial of the same values would tell nothing new."""
        if any(one.values == trial.values for one in self._done[: trial.number]):
            return False
        self._confirm(trial)
        return len(self._again[trial.number]) == SEEDS and self._goal.met(self._mean(trial.number))

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
            self._check_deaths(name_trial(number))
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

    def _best(self) -> list[Trial]:
        """The best complete trials so far, no two of the same values."""
        complete = [one for one in self._done if one.state == "complete"]
        unlike = {one.values.model_dump_json(): one for one in reversed(complete)}.values()
        return sorted(unlike, key=lambda one: (self._goal.cost(one.value), one.number))[:FINALISTS]

    def _confirmed_best(self, finalists: list[Trial]) -> Trial:
        """The best by the mean of further seeds: the first was chosen for being good.

        Each seed holds other rows back, so only trials with the same seeds are compared, as many as there was time for.
        """
        if not finalists:
            said = self._done[-1].reason if self._done else "no trial was through before the seconds were over"
            raise TrainingError(f"none of {len(self._done)} trials could be trained: {said}")
        for one in self._affordable(finalists):
            self._confirm(one)
        most = max(len(again) for again in self._again.values())
        if most == 0:
            return finalists[0]
        known = [one for one in self._done if len(self._again.get(one.number, [])) == most]
        return min(known, key=lambda one: (self._goal.cost(self._mean(one.number)), one.number))

    def _affordable(self, finalists: list[Trial]) -> list[Trial]:
        """The best, and as many of those behind it as a part of the seconds is enough to confirm."""
        if self._budget.seconds is None:
            return finalists
        until = itertools.accumulate(SEEDS * self._budget.took(name_trial(one.number)) for one in finalists)
        room = CONFIRMING * self._budget.seconds
        pairs = enumerate(zip(finalists, until, strict=True))
        return [one for place, (one, needed) in pairs if not place or needed <= room]

    @property
    def _further_seeds(self) -> range:
        return range(self._seed + 1, self._seed + 1 + SEEDS)

    def _confirm(self, trial: Trial) -> None:
        """Trains with further seeds, each with other rows held back, as long as there is time."""
        again = self._again.setdefault(trial.number, [])
        for seed in self._further_seeds[len(again) :]:
            made = self._files.confirmation(trial.number, seed) or self._train_again(trial, seed)
            if made is None:
                return
            again.append(made)

    def _mean(self, number: int) -> float | None:
        """The mean over the further seeds of a trial; None if one of them failed."""
        values = [one.value for one in self._again[number]]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    def _train_again(self, trial: Trial, seed: int) -> Confirmation | None:
        """None if a training as long as the trial's would end further behind the seconds than it begins before them."""
        left = self._budget.left()
        if left is not None and left < self._budget.took(name_trial(trial.number)) / 2:
            return None
        self._tell(f"trial {trial.number} once more, with seed {seed}")
        name, made = name_confirmation(trial.number, seed), Confirmation(number=trial.number, seed=seed)
        with self._budget.training(name):
            try:
                self._check_deaths(name)
                made.value = statistics.fmean(self._judge(trial.values, seed, lambda *_: None, lambda: None).folds)
            except (ModuleError, TrainingError) as error:
                made.reason = str(error)
        self._files.write(made)
        return made

    def _check_deaths(self, name: str) -> None:
        if self._budget.deaths(name) >= DEATHS:
            raise TrainingError(
                f"the process ended {DEATHS} times, as for lack of memory, while it trained with these values"
            )

    def _to_confirm(self) -> float:
        """The seconds that it takes to confirm the best so far."""
        return sum(
            self._budget.took(name_trial(one.number))
            for one in self._affordable(self._best())
            for seed in self._further_seeds
            if not self._budget.took(name_confirmation(one.number, seed))
        )

    def _left_for_trials(self) -> float | None:
        left = self._budget.left()
        return None if left is None else left - self._to_confirm()

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
        left += self._to_confirm()
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
