"""Two hundred simulated days: what the rule does about each kind of drift, and how often it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from slipway.module_api import Retraining
from slipway.monitoring.decision import DAY, Decision, Findings, Signal, State, confirmed, decide, key_of

DAYS = 200
POLICY = Retraining(triggers=("drift",))


@dataclass
class World:
    """Days of one window each; `level` tells how far the world is from what the model was trained on.

    Attributes:
        level: Of the day, and of the day of the last training (its data are of that day).
        columns: Levels of the columns that drifted, of the same.
        broken: Whether a feature is broken on a day.
        late: Days by which labels are late; the cause is then performance, of requests that the last version answered.
    """

    level: Callable[[int, int], float]
    columns: Callable[[int, int], dict[str, float]] = lambda day, last: {}
    broken: Callable[[int], bool] = lambda day: False
    enough: Callable[[int], bool] = lambda day: True
    clock: Callable[[int], float] = lambda day: day * DAY
    noise: float = 0.1
    schedulers: int = 1
    late: int = 0
    policy: Retraining = POLICY
    trained_on: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def play(self) -> World:
        rng, state, version, last = np.random.default_rng(11), State(), 1, 0
        for day in range(DAYS):
            level = max(0.0, self.level(day - self.late, last) + self.noise * rng.normal())
            cause: Literal["drift", "performance"] = "performance" if self.late else "drift"
            enough = self.enough(day) and (not self.late or day - self.late >= last)
            found = Findings(
                window=f"{day:04}",
                model_version=version,
                data_digest=f"data-{day}",
                signals=[Signal(cause=cause, level=level, enough=enough, columns=self.columns(day, last))],
                broken=["fare: the values are 100 times those of training"] if self.broken(day) else [],
            )
            for _ in range(self.schedulers):  # each reads the state that the one before wrote
                decision, state = decide(state, self.clock(day), found, self.policy)
                self.decisions.append(decision)
                if decision.action == "train":
                    assert state.pending == decision.key
                    state = confirmed(state, decision.key)
                    self.trained_on.append(day)
                    version, last = version + 1, day
        return self


def sudden(at: int) -> Callable[[int, int], float]:
    return lambda day, last: 3.0 if last < at <= day else 0.3


def test_no_training_on_stable_days() -> None:
    assert World(lambda day, last: 0.3).play().trained_on == []


def test_sudden_drift_is_answered_in_k_windows_once() -> None:
    [day] = World(sudden(60)).play().trained_on
    assert 60 < day <= 60 + POLICY.windows


def test_slow_drift_is_answered_each_time_it_adds_up() -> None:
    days = World(lambda day, last: (day - last) / 50).play().trained_on
    assert 3 <= len(days) <= 4
    assert min(np.diff(days)) > 40


def test_a_season_is_trained_at_most_once_each_way() -> None:
    def season(day: int) -> float:
        return float(80 <= day < 140)

    days = World(lambda day, last: 0.2 + 3 * abs(season(day) - season(last))).play().trained_on
    assert len(days) == 2


def test_a_broken_feature_is_an_alert_and_never_a_training() -> None:
    world = World(lambda day, last: 5.0 if day >= 50 else 0.2, broken=lambda day: day >= 50).play()
    assert world.trained_on == []
    assert sum(one.action == "alert" for one in world.decisions) == DAYS - 50
    assert "mend the source" in world.decisions[-1].reason


def test_a_flapping_signal_does_not_train_each_time() -> None:
    world = World(lambda day, last: 1.6 if day % 2 else 0.7).play()
    assert world.trained_on == []
    bounded = World(
        lambda day, last: 1.6 if day % 6 < 3 else 0.3, policy=Retraining(triggers=("drift",), cool_down_days=21)
    )
    assert len(bounded.play().trained_on) <= DAYS / 21 + 1


def test_a_cause_that_training_does_not_remove_is_trained_once() -> None:
    assert len(World(lambda day, last: 3.0 if day >= 50 else 0.2).play().trained_on) == 1


@pytest.mark.parametrize("other", ["fare", "place"])
def test_a_drift_that_training_does_not_remove_hides_no_other(other: str) -> None:
    def columns(day: int, last: int) -> dict[str, float]:
        stays = {"place": 1.4} if day >= 30 else {}
        return stays | ({other: 4.0} if last < 100 <= day else {})

    world = World(lambda day, last: max(columns(day, last).values(), default=0.3), columns=columns, noise=0).play()
    assert world.trained_on == [31, 101]
    assert "answered already" in world.decisions[99].reason
    assert f"new since the last training: {other}" in world.decisions[101].reason
    assert "answered already" in world.decisions[199].reason


def test_too_few_rows_are_no_verdict_either_way() -> None:
    world = World(sudden(60), enough=lambda day: not 60 <= day < 90).play()
    assert world.trained_on == [91]
    assert "not enough" in world.decisions[70].reason


@pytest.mark.parametrize("every", [1, 5])
def test_late_labels_train_once_when_they_have_come(every: int) -> None:
    """Also where they come every fifth day only, and though those of the old version come after the training."""
    late, policy = 14, Retraining(triggers=("performance",))
    world = World(sudden(60), late=late, enough=lambda day: day % every == 0, policy=policy).play()
    [day] = world.trained_on
    assert 60 + late < day <= 60 + late + every * policy.windows
    assert World(lambda day, last: 0.3, late=late, policy=policy).play().trained_on == []


def test_two_schedulers_at_once_train_once() -> None:
    world = World(sudden(60), schedulers=2).play()
    assert len(world.trained_on) == 1
    assert sum("decided before" in one.reason for one in world.decisions) == DAYS


@pytest.mark.parametrize("jump", [-40, 40])
def test_a_clock_that_jumps_for_a_week_loses_no_training(jump: int) -> None:
    def clock(day: int) -> float:
        return (day + (jump if 55 <= day < 62 else 0)) * DAY

    def twice(day: int, last: int) -> float:
        return 3.0 if last < 58 <= day or last < 120 <= day else 0.3

    days = World(twice, clock=clock).play().trained_on
    assert len(days) == 2
    assert days[0] <= 58 + POLICY.windows
    assert 120 < days[1] <= 120 + POLICY.windows


def test_cool_down_and_budget_hold_but_not_against_a_person() -> None:
    state, now = State(), 100 * DAY
    policy = Retraining(triggers=("drift", "new_data"), windows=1, cool_down_days=0, per_week=2)
    for number in range(3):
        asked = Findings(window=str(number), model_version=1, data_digest=str(number), asked="new_data")
        decision, state = decide(state, now + number * DAY, asked, policy)
        assert decision.action == ("train" if number < 2 else "wait")
    by_hand = asked.model_copy(update={"asked": "hand"})
    assert decide(state, now + 2 * DAY, by_hand, policy)[0].action == "train"
    cooling = policy.model_copy(update={"cool_down_days": 7, "per_week": 9})
    decision, _ = decide(state, now + 5 * DAY, asked, cooling)
    assert (decision.action, decision.reason) == ("wait", "the cool-down ends in 3.0 days")


def test_the_same_model_and_data_are_never_trained_twice() -> None:
    state, policy = State(), Retraining(triggers=("schedule",), cool_down_days=0)
    asked = Findings(window="1", model_version=7, data_digest="d", asked="schedule")
    first, state = decide(state, 0, asked, policy)
    again, state = decide(state, 30 * DAY, asked.model_copy(update={"window": "2"}), policy)
    assert (first.action, again.action) == ("train", "alert")
    assert first.key == again.key == key_of(7, "d")
    assert decide(state, 30 * DAY, asked.model_copy(update={"data_digest": "e"}), policy)[0].action == "train"


def test_an_event_trains_on_new_data_once_and_is_no_window() -> None:
    """Also one that comes again after the model that it led to was pushed."""
    window = Decision(action="wait", reason="drift in 1 of 2 windows")
    state = State(windows=["1"], running={"drift": 1}, decision=window, data_digest="old")
    policy = Retraining(triggers=("new_data",), cool_down_days=0)
    event = Findings(model_version=7, data_digest="new", asked="new_data")
    first, state = decide(state, DAY, event, policy)
    assert (first.action, first.causes) == ("train", ["new_data"])
    assert (state.windows, state.running, state.decision) == (["1"], {"drift": 1}, window)
    for version in (7, 8):
        again, state = decide(state, 2 * DAY, event.model_copy(update={"model_version": version}), policy)
        assert (again.action, state.keys) == ("nothing", [first.key])
    assert decide(State(), DAY, event, policy)[0].action == "train", "nothing is known of earlier data"
    other, _ = decide(state, DAY, event.model_copy(update={"data_digest": "newer"}), Retraining())
    assert (other.action, "new_data" in other.reason) == ("nothing", True)
    by_hand, _ = decide(state, DAY, event.model_copy(update={"asked": "hand", "model_version": 8}), policy)
    assert by_hand.action == "train"


def test_performance_is_a_cause_of_its_own() -> None:
    state, policy = State(), Retraining(triggers=("performance",), windows=2)
    worse = [Signal(cause="performance", level=2), Signal(cause="drift", level=3)]
    for number in range(2):
        found = Findings(window=str(number), model_version=1, data_digest=str(number), signals=worse)
        decision, state = decide(state, number * DAY, found, policy)
    assert decision.action == "train"
    assert decision.causes == ["performance"]
