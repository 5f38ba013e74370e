"""Which of the trials is believed: the best by its mean over further seeds, since the first was chosen for being good.

Each further seed holds other rows back. docs/decisions/0062-a-short-search-confirms-fewer.md has the reasons.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence

from slipway.errors import ModuleError, TrainingError
from slipway.tuning.budget import Budget
from slipway.tuning.goal import Goal
from slipway.tuning.judge import Judge
from slipway.tuning.trials import Confirmation, Trial, TrialFiles, name_confirmation, name_trial

FINALISTS, SEEDS = 3, 2
# Of the seconds of a search, at most so many are for confirming, beside those that it takes to confirm the best.
CONFIRMING = 1 / 3


class Confirming:
    """The trainings with further seeds of one search; `seed` is the first."""

    def __init__(
        self, goal: Goal, seed: int, files: TrialFiles, budget: Budget, judge: Judge, tell: Callable[[str], None]
    ) -> None:
        self._goal, self._seeds = goal, range(seed + 1, seed + 1 + SEEDS)
        self._files, self._budget, self._judge, self._tell = files, budget, judge, tell
        self._again: dict[int, list[Confirmation]] = {}

    def best(self, trials: Sequence[Trial]) -> list[Trial]:
        """The best complete trials, no two of the same values."""
        complete = [one for one in trials if one.state == "complete"]
        unlike = {one.values.model_dump_json(): one for one in reversed(complete)}.values()
        return sorted(unlike, key=lambda one: (self._goal.cost(one.value), one.number))[:FINALISTS]

    def is_target_met(self, trial: Trial) -> bool:
        """Whether all further seeds reach the target."""
        self._confirm(trial)
        return self._goal.met(self.means(SEEDS).get(trial.number))

    def choose(self, trials: Sequence[Trial]) -> tuple[Trial, int]:
        """The winner, and by how many further seeds: trials are compared by those that there was time for.

        Raises:
            TrainingError: no trial is complete.
        """
        finalists = self._affordable(trials)
        if not finalists:
            said = trials[-1].reason if trials else "no trial was through before the seconds were over"
            raise TrainingError(f"none of {len(trials)} trials could be trained: {said}")
        best, *others = finalists
        self._confirm(best)
        seeds = len(self._again[best.number])
        for one in others if seeds == SEEDS else []:
            self._confirm(one)
        seeds = seeds or max(map(len, self._again.values()))
        if seeds == 0:
            return best, 0
        means = self.means(seeds)
        known = [one for one in trials if one.number in means]
        return min(known, key=lambda one: (self._goal.cost(means[one.number]), one.number)), seeds

    def means(self, seeds: int) -> dict[int, float | None]:
        """The mean over the first so many seeds, of each trial that has them; None if one of them failed."""
        found: dict[int, float | None] = {}
        for number, again in self._again.items():
            if len(again) >= seeds > 0:
                values = [one.value for one in again[:seeds]]
                known = [value for value in values if value is not None]
                found[number] = statistics.fmean(known) if len(known) == seeds else None
        return found

    def seconds(self, trials: Sequence[Trial]) -> float:
        """How long it takes to confirm the best so far."""
        return sum(
            self._budget.took(name_trial(one.number))
            for one in self._affordable(trials)
            for seed in self._seeds
            if not self._budget.took(name_confirmation(one.number, seed))
        )

    def _affordable(self, trials: Sequence[Trial]) -> list[Trial]:
        """The best, and as many of those behind it as a part of the seconds is enough to confirm."""
        finalists = self.best(trials)
        if self._budget.seconds is None:
            return finalists
        until = itertools.accumulate(SEEDS * self._budget.took(name_trial(one.number)) for one in finalists)
        room = CONFIRMING * self._budget.seconds
        pairs = enumerate(zip(finalists, until, strict=True))
        return [one for place, (one, needed) in pairs if not place or needed <= room]

    def _confirm(self, trial: Trial) -> None:
        """Trains with further seeds, as long as there is time."""
        again = self._again.setdefault(trial.number, [])
        for seed in self._seeds[len(again) :]:
            made = self._files.confirmation(trial.number, seed) or self._train(trial, seed)
            if made is None:
                return
            again.append(made)

    def _train(self, trial: Trial, seed: int) -> Confirmation | None:
        """None if a training as long as the trial's would end further behind the seconds than it begins before them."""
        left = self._budget.left()
        if left is not None and left < self._budget.took(name_trial(trial.number)) / 2:
            return None
        self._tell(f"trial {trial.number} once more, with seed {seed}")
        name, made = name_confirmation(trial.number, seed), Confirmation(number=trial.number, seed=seed)
        with self._budget.training(name):
            try:
                self._budget.check_deaths(name)
                made.value = statistics.fmean(self._judge(trial.values, seed, lambda *_: None, lambda: None).folds)
            except (ModuleError, TrainingError) as error:
                made.reason = str(error)
        self._files.write(made)
        return made
