"""What a search came to: the artifact of tune_model, and the file in the run's record."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel

from slipway.lineage import Lineage
from slipway.module_api import Better
from slipway.pages.numbers import format_number, format_seconds, format_time
from slipway.tuning.confirming import SEEDS
from slipway.tuning.goal import Goal
from slipway.tuning.search import Ended, Found
from slipway.tuning.space import Values
from slipway.tuning.trials import Trial

RESULT = "tuning.json"


class Tuned(BaseModel):
    """The end of a search: why it ended, the winner, and what became of the target.

    `first` is the winner's value with the first seed alone, `value` its mean over `seeds` further ones;
    `unconfirmed` are those of the best for which there was no time; `own` is the value of module.yaml's own values.
    `by_hand` are the names among its values that were given by hand, and so not searched, `changed` those that differ
    from module.yaml as it is in this run.
    """

    ended: Ended
    metric: str
    better: Better
    target: float | None = None
    first: float | None = None
    value: float | None = None
    seeds: int = SEEDS
    unconfirmed: list[int] = []
    own: float | None = None
    winner: int
    values: Values
    by_hand: list[str] = []
    changed: list[str] = []
    trials: int
    pruned: int = 0
    failed: int = 0
    seconds: float = 0.0
    found_at: float = 0.0

    @classmethod
    def of(cls, found: Found, goal: Goal, by_hand: list[str], seconds: float, now: float) -> Self:
        """The result of a search that ended now."""
        states = [one.state for one in found.trials]
        return cls(
            ended=found.ended,
            metric=goal.metric,
            better=goal.better,
            target=goal.target,
            first=found.first,
            value=found.value,
            seeds=found.seeds,
            unconfirmed=found.unconfirmed,
            own=next((one.value for one in found.trials if one.number == 0), None),
            winner=found.winner,
            values=found.values,
            by_hand=by_hand,
            trials=len(states),
            pruned=states.count("pruned"),
            failed=states.count("failed"),
            seconds=seconds,
            found_at=now,
        )

    def lineage(self, lineage: Lineage) -> Lineage:
        """The lineage of the run whose model was built with the winner's values."""
        changed = self.values.without(self.values.flat().keys() - set(self.changed))
        return lineage.tuned(changed.hyperparameters, changed.training)

    @property
    def goal(self) -> Goal:
        """What the search was for."""
        return Goal(self.metric, self.better, self.target)

    @property
    def is_met(self) -> bool:
        """Whether the target is reached by all further seeds, or there is none."""
        return self.target is None or (self.seeds == SEEDS and self.goal.met(self.value))

    @property
    def reason(self) -> str:
        """Why it ended, with the figure, and what is missing or not confirmed, for people."""
        trials = f"{self.trials} trial{'s' * (self.trials != 1)}"
        if self.ended == "target":
            return f"tuned until the target was met, after {trials}: {self._figure}"
        bound = {
            "trials": f"{trials} are done, as many as there may be",
            "seconds": f"the seconds were over, after {trials} and {format_seconds(self.seconds)}",
            "patience": f"no better trial came for long, after {trials}",
            "reused": f"no search: the winner of {format_time(self.found_at)} is reused",
        }[self.ended]
        said = [f"tuned: {bound}: {self._figure}"]
        if self.unconfirmed:
            named = ", ".join(str(number) for number in self.unconfirmed)
            said.append(
                f"of the next best there was no time to confirm trial{'s' * (len(self.unconfirmed) > 1)} {named}"
            )
        if missing := self.goal.missing(self.value if self.seeds else self.first):
            said.append(missing)
        elif not self.is_met:
            said.append(f"that this meets the target, {format_number(self.target)}, is not confirmed")
        return "; ".join(said)

    @property
    def _figure(self) -> str:
        if not self.seeds:
            first = f"{self.metric} {format_number(self.first)} with the first seed alone (trial {self.winner})"
            return f"{first}: there was no time to confirm it with further seeds"
        if self.value is None:
            return f"trial {self.winner} is the best, but could not be trained with further seeds"
        figure = f"{self.metric} {format_number(self.value)}"
        if self.seeds < SEEDS:
            return f"{figure} with one further seed (trial {self.winner}): there was no time for {SEEDS}"
        return f"{figure} as a mean of {SEEDS} further seeds (trial {self.winner})"


class TuningFile(BaseModel):
    """The file `tuning.json` of the artifact: the result with all trials."""

    tuned: Tuned
    trials: list[Trial]
    confirmed: dict[int, float] = {}
    importance: dict[str, float] = {}
    uri: str = ""


class Winner(BaseModel):
    """The newest result of a key, and the digest of the data on which it was found."""

    data: str
    tuned: Tuned


class TuningRecord(BaseModel):
    """The file `tuning.json` of a run's record. `progress` is a line on a search under way, `trials_uri` its folder."""

    progress: str = ""
    trials_uri: str = ""
    tuned: Tuned | None = None
    artifacts: dict[str, str] = {}
