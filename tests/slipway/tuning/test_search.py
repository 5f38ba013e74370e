from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import ModuleError, TrainingError
from slipway.module_api import Searched, Tuning
from slipway.stores import storage
from slipway.tuning.budget import Budget
from slipway.tuning.goal import goal_of
from slipway.tuning.halving import falls_behind
from slipway.tuning.judge import Judged
from slipway.tuning.page import render_tuning
from slipway.tuning.result import Tuned, TuningFile
from slipway.tuning.sampler import importance
from slipway.tuning.search import Found, Search, costs
from slipway.tuning.space import Space, Values
from slipway.tuning.trials import TrialFiles
from tests.fakes.storage_server import StorageServer

SPACE = Space(
    {
        "rate": Searched(min=0.001, max=1.0, log=True),
        "units": Searched(min=1, max=64),
        "hidden": Searched(choices=([8], [8, 4])),
        "layers": Searched(min=8, max=32, step=8, length=(1, 3)),
    }
)
OWN = Values(hyperparameters={"rate": 0.1, "units": 4, "hidden": [8], "layers": [8, 16]}, training={"epochs": 9})


class Quadratic:
    """Best at 40 units; what a seed gives is a little better or worse."""

    def __init__(self, fail: Callable[[Values, int], Exception | None] = lambda *_: None) -> None:
        self.calls: list[tuple[int, int]] = []
        self._fail = fail

    def __call__(self, values: Values, seed: int, at_rung: Any, check: Any) -> Judged:
        units = values.hyperparameters["units"]
        self.calls.append((units, seed))
        if error := self._fail(values, seed):
            raise error
        value = (units - 40) ** 2 / 1600 + 0.01 * seed
        for epoch in (1, 3):
            check()
            at_rung(epoch, value + 1 / epoch)
        return Judged([value], [5])


def search(
    uri: str | Path,
    judge: Any = None,
    space: Space = SPACE,
    told: list[str] | None = None,
    run: str = "run",
    failed: tuple[str, ...] = (),
    **tuning: Any,
) -> Found:
    """`failed` are the runs before that failed."""
    wanted = Tuning.model_validate({"trials": 12, **tuning})
    goal = goal_of("binary", wanted.metric, wanted.target)
    lines = [] if told is None else told
    files = TrialFiles(str(uri))
    budget = Budget(wanted.seconds, files, run, failed.__contains__)
    return Search(wanted, goal, space, OWN, 7, files, budget, judge or Quadratic(), lines.append).run()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_the_search_finds_the_best_and_starts_with_the_own_values(tmp_path: Path) -> None:
    judge = Quadratic()
    found = search(tmp_path, judge, trials=30)
    assert judge.calls[0] == (4, 7)
    assert abs(found.values.hyperparameters["units"] - 40) <= 6
    assert found.ended == "trials"
    assert {seed for _, seed in judge.calls} == {7, 8, 9}
    lists = [one.values.hyperparameters["layers"] for one in found.trials]
    assert {len(one) for one in lists} == {1, 2, 3}
    assert {item for one in lists for item in one} <= {8, 16, 24, 32}


@pytest.mark.parametrize(
    "outside",
    [
        {"rate": Searched(min=0.2, max=1.0, log=True)},
        {"units": Searched(min=8, max=64, log=True)},
        {"rate": Searched(min=0.0, max=0.9, step=0.3)},
        {"hidden": Searched(choices=([16], [32]))},
        {"layers": Searched(min=8, max=32, step=8, length=(1, 1))},
        {"layers": Searched(min=16, max=32, length=(1, 3))},
    ],
)
def test_own_values_may_lie_outside_of_the_space(tmp_path: Path, outside: dict[str, Searched]) -> None:
    found = search(tmp_path, space=Space({**SPACE.searched, **outside}), trials=3)
    assert found.trials[0].values.hyperparameters == OWN.hyperparameters
    assert not found.trials[0].parameters  # the sampler does not learn from them
    assert all(one.parameters for one in found.trials[1:])


@pytest.mark.parametrize("after", [0, 1, 4, 12, 13])
def test_a_search_stopped_anywhere_leaves_the_same_files(tmp_path: Path, after: int) -> None:
    search(tmp_path / "whole")
    stopping = Quadratic()

    def stop(*_: Any) -> Exception | None:
        return KeyboardInterrupt() if len(stopping.calls) > after else None  # type: ignore[return-value]

    stopping._fail = stop
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "stopped", stopping)
    again = Quadratic()
    search(tmp_path / "stopped", again)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert len(again.calls) + after == len({*_trained(tmp_path / "whole")})


def _trained(folder: Path) -> list[str]:
    """The files that a training was needed for."""
    return [name for name, text in contents(folder).items() if b"the values of trial" not in text]


def test_more_trials_go_on_and_fewer_judge_nothing(tmp_path: Path) -> None:
    search(tmp_path, trials=5)
    before = contents(tmp_path)
    found = search(tmp_path, trials=8)
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert found.trials[7].drawn_from == list(range(7))
    idle = Quadratic()
    search(tmp_path, idle, trials=8)
    assert idle.calls == []


def test_a_damaged_or_missing_file_is_made_again(tmp_path: Path) -> None:
    search(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "trial-0003.json").write_text("{")
    (tmp_path / "trial-0005.json").unlink()
    search(tmp_path)
    assert contents(tmp_path) == before


def test_a_clock_without_its_trial_is_no_trial(tmp_path: Path) -> None:
    search(tmp_path, trials=3)
    before = contents(tmp_path)
    (tmp_path / "trial-0002.json").unlink()
    again = Quadratic()
    search(tmp_path, again, trials=3)
    assert len(again.calls) == 1
    assert contents(tmp_path) == before


def test_two_searches_at_once_leave_the_files_of_one(tmp_path: Path) -> None:
    class Overtaken(Quadratic):
        """While it judges its third trial, another search begins and ends."""

        def __call__(self, *arguments: Any) -> Judged:
            if len(self.calls) == 2:
                search(tmp_path / "both")
            return super().__call__(*arguments)

    search(tmp_path / "alone")
    overtaken = Overtaken()
    found = search(tmp_path / "both", overtaken)
    assert len(overtaken.calls) == 3, "it goes on with the other's files"
    assert len(found.trials) == 12
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


def test_files_hold_no_time_and_clocks_do(tmp_path: Path) -> None:
    search(tmp_path, trials=2)
    assert not {"started", "seconds"} & set(json.loads((tmp_path / "trial-0001.json").read_text()))
    clock = json.loads((tmp_path / "trial-0001.json.clock").read_text())
    assert {"started", "seconds"} <= set(clock)
    assert clock["begun"] == [], "it told its end"


def test_the_lucky_trial_is_not_chosen(tmp_path: Path) -> None:
    class Lucky(Quadratic):
        def __call__(self, values: Values, seed: int, at_rung: Any, check: Any) -> Judged:
            judged = super().__call__(values, seed, at_rung, check)
            lucky = values.hyperparameters["units"] == 4 and seed == 7
            return Judged([-1.0 if lucky else judged.folds[0]], [1])

    found = search(tmp_path, Lucky())
    assert found.trials[0].value == -1.0
    assert found.winner != 0


def test_a_target_must_be_met_by_further_seeds(tmp_path: Path) -> None:
    found = search(tmp_path, target=0.5, trials=30)
    assert found.ended == "target"
    assert found.value is not None
    assert found.value <= 0.5
    assert len(found.trials) < 30
    tuned = Tuned.of(found, goal_of("binary", "val_loss", 0.5), [], 3.0, 0.0)
    assert "target was met" in tuned.reason


def test_a_missed_target_is_told_with_what_was_missing(tmp_path: Path) -> None:
    found = search(tmp_path, target=-1.0, trials=3)
    reason = Tuned.of(found, goal_of("binary", "val_loss", -1.0), [], 3.0, 0.0).reason
    assert "3 trials are done" in reason
    assert "at most" in reason
    assert "missed by" in reason


def test_patience_ends_the_search(tmp_path: Path) -> None:
    found = search(tmp_path, space=Space({"units": Searched(min=1, max=4)}), patience=3, trials=30)
    assert found.ended == "patience"
    assert len(found.trials) == found.trials.index(min(found.trials, key=lambda one: one.value or 99)) + 4


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [0.0]
    monkeypatch.setattr("slipway.tuning.search.time.monotonic", lambda: now[0])
    monkeypatch.setattr("slipway.tuning.budget.time.time", lambda: now[0])
    return now


def test_the_seconds_end_the_search_and_count_those_before(tmp_path: Path, now: list[float]) -> None:
    class Slow(Quadratic):
        def __call__(self, *arguments: Any) -> Judged:
            now[0] += 10
            return super().__call__(*arguments)

    found = search(tmp_path, Slow(), seconds=95)
    assert (found.ended, len(found.trials)) == ("seconds", 7)  # the eighth was under way, and left no trial
    assert len(found.confirmed) == 1, "of the seconds a third is for confirming"
    assert sum(clock.seconds for _, clock in TrialFiles(str(tmp_path)).clocks()) == 70 + 10 + 20
    again = Slow()
    assert search(tmp_path, again, seconds=95).ended == "seconds"
    assert again.calls == [], "the time of the eighth counts, so it is not begun again"
    more = search(tmp_path, Slow(), seconds=115)
    assert (more.ended, len(more.trials)) == ("seconds", 8)
    enough = search(tmp_path / "enough", Slow(), seconds=185)
    assert (enough.ended, len(enough.trials), len(enough.confirmed)) == ("trials", 12, 3)


@pytest.mark.parametrize(
    ("seconds", "trained", "seeds", "said"),
    [
        (1, 1, 0, "first seed alone (trial 0): there was no time to confirm"),
        (12, 1, 0, "first seed alone (trial 0): there was no time to confirm"),
        (17, 2, 1, "with one further seed (trial 0): there was no time for 2"),
        (20, 2, 1, "with one further seed (trial 0): there was no time for 2"),
        (28, 3, 2, "as a mean of 2 further seeds (trial 0)"),
    ],
)
def test_seconds_bound_the_confirmations_too(
    tmp_path: Path, now: list[float], seconds: int, trained: int, seeds: int, said: str
) -> None:
    class Slow(Quadratic):
        def __call__(self, *arguments: Any) -> Judged:
            now[0] += 10
            return super().__call__(*arguments)

    judge = Slow()
    found = search(tmp_path, judge, seconds=seconds, target=-1.0)
    assert (found.ended, len(judge.calls), found.winner, found.seeds) == ("seconds", trained, 0, seeds)
    assert now[0] <= max(10, seconds + 5), (
        "the first trial whatever it takes, and then no training that ends far behind"
    )
    assert search(tmp_path, judge, seconds=seconds, target=-1.0) == found
    assert len(judge.calls) == trained, "nothing is left to train"
    tuned = Tuned.of(found, goal_of("binary", "val_loss", -1.0), [], now[0], 0.0)
    assert said in tuned.reason
    assert "missed by" in tuned.reason
    page = render_tuning(TuningFile(tuned=tuned, trials=found.trials))
    assert ("Not confirmed" in page) == (seeds == 0)
    assert "Slices" not in page, "of one trial there are none"
    search(tmp_path, judge, seconds=30)
    assert len(judge.calls) == 3, "more seconds confirm what was not"


def test_a_target_that_only_the_first_seed_meets_is_not_told_as_met(tmp_path: Path, now: list[float]) -> None:
    class Slow(Quadratic):
        def __call__(self, *arguments: Any) -> Judged:
            now[0] += 10
            return super().__call__(*arguments)

    goal = goal_of("binary", "val_loss", 9.0)
    for seconds in (12, 17):
        found = search(tmp_path, Slow(), seconds=seconds, target=9.0)
        tuned = Tuned.of(found, goal, [], now[0], 0.0)
        assert (found.ended, tuned.is_met) == ("seconds", False)
        assert "the target, 9, is not confirmed" in tuned.reason
    found = search(tmp_path, Slow(), seconds=30, target=9.0)
    assert (found.ended, Tuned.of(found, goal, [], now[0], 0.0).is_met) == ("target", True)


def test_finalists_without_time_are_told_and_those_with_fewer_seeds_do_not_win(
    tmp_path: Path, now: list[float]
) -> None:
    class Slower(Quadratic):
        """Further seeds take longer than the first, and give better values to the trials behind the best."""

        def __call__(self, values: Values, seed: int, at_rung: Any, check: Any) -> Judged:
            self.calls.append((values.hyperparameters["units"], seed))
            now[0] += 10 if seed == 7 else 14
            place = len({units for units, _ in self.calls}) if seed == 7 else 0
            return Judged([float(place)], [1])

    found = search(tmp_path, Slower(), seconds=190, trials=12)
    assert (found.winner, found.seeds) == (0, 2)
    assert found.unconfirmed
    told = Tuned.of(found, goal_of("binary", "val_loss", None), [], 3.0, 0.0).reason
    assert all(str(number) in told.partition("no time to confirm")[2] for number in found.unconfirmed)


def test_a_best_trial_without_time_is_not_beaten_by_a_worse_one_that_is_confirmed(
    tmp_path: Path, now: list[float]
) -> None:
    class Uneven(Quadratic):
        """A quick trial, one that fails, and the best one, which ends when the quick one alone can be confirmed."""

        def __call__(self, values: Values, seed: int, at_rung: Any, check: Any) -> Judged:
            self.calls.append((values.hyperparameters["units"], seed))
            seconds, value = [(5, 0.9), (245, None), (40, 0.1)][len(self.calls) - 1]
            now[0] += seconds
            if value is None:
                raise TrainingError("it diverged")
            return Judged([value], [1])

    found = search(tmp_path, Uneven(), seconds=300, trials=3)
    assert (found.winner, found.first, found.seeds, found.confirmed) == (2, 0.1, 0, {})


def test_trials_of_the_same_values_are_confirmed_once(tmp_path: Path) -> None:
    judge = Quadratic()
    found = search(tmp_path, judge, space=Space({"units": Searched(min=39, max=40)}), target=0.075, trials=8)
    assert found.ended == "trials", "only the first seed meets it"
    assert len(judge.calls) == len(set(judge.calls))


DYING = """
import os
import sys

from tests.slipway.tuning.test_search import Quadratic, search

class Dying(Quadratic):
    def __call__(self, values, seed, at_rung, check):
        judged = super().__call__(values, seed, at_rung, check)
        if len(self.calls) == int(sys.argv[3]):
            os._exit(9)
        return judged

search(sys.argv[1], Dying(), run=sys.argv[2])
"""


def died(folder: Path, run: str, call: int) -> None:
    """A search in a process that ends in the middle of a training."""
    ended = subprocess.run([sys.executable, "-c", DYING, str(folder), run, str(call)], check=False)
    assert ended.returncode == 9


def test_a_trial_that_ends_its_process_twice_is_a_failed_one(tmp_path: Path) -> None:
    search(tmp_path / "whole")
    died(tmp_path / "once", "a", 3)
    search(tmp_path / "once", run="b", failed=("a",))
    assert contents(tmp_path / "once") == contents(tmp_path / "whole"), "killed once, it leaves the same files"

    died(tmp_path / "twice", "a", 3)
    died(tmp_path / "twice", "b", 1)
    found = search(tmp_path / "twice", run="c", failed=("a", "b"))
    [failed] = [one for one in found.trials if one.state == "failed"]
    whole = json.loads((tmp_path / "whole" / "trial-0002.json").read_text())
    assert (failed.number, failed.values.model_dump()) == (2, whole["values"]), "what was drawn is told"
    assert "process ended 2 times" in failed.reason
    tuned = Tuned.of(found, goal_of("binary", "val_loss", None), [], 3.0, 0.0)
    assert "process ended 2 times" in render_tuning(TuningFile(tuned=tuned, trials=found.trials))


@pytest.mark.slow
def test_a_run_that_was_interrupted_or_goes_on_says_nothing_against_its_trial(tmp_path: Path) -> None:
    search(tmp_path / "whole")
    for run in "abc":
        died(tmp_path / "killed", run, 3 if run == "a" else 1)
    search(tmp_path / "killed", run="d", failed=("a",))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_attempts_of_one_run_are_deaths(tmp_path: Path) -> None:
    died(tmp_path, "a", 3)
    died(tmp_path, "a", 1)
    assert search(tmp_path, run="a").trials[2].state == "failed"


@pytest.mark.slow
def test_a_confirmation_that_ends_its_process_twice_is_a_failed_one(tmp_path: Path) -> None:
    judge = Quadratic()
    search(tmp_path / "whole", judge)
    died(tmp_path / "dying", "a", next(index for index, (_, seed) in enumerate(judge.calls, 1) if seed != 7))
    died(tmp_path / "dying", "b", 1)
    found = search(tmp_path / "dying", run="c", failed=("a", "b"))
    assert len(found.confirmed) == 2
    [reason] = [
        reason for name, text in contents(tmp_path / "dying").items()
        if name.startswith("confirm") and (reason := json.loads(text)["reason"])
    ]  # fmt: skip
    assert "process ended 2 times" in reason


def test_a_search_that_is_interrupted_counts_the_time_and_no_death(tmp_path: Path, now: list[float]) -> None:
    def interrupted(*_: Any) -> Exception:
        now[0] += 10
        return KeyboardInterrupt()  # type: ignore[return-value]

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, Quadratic(interrupted))
    assert sum(clock.seconds for _, clock in TrialFiles(str(tmp_path)).clocks()) == 30
    assert search(tmp_path, trials=1).trials[0].state == "complete"


@pytest.mark.parametrize(
    ("cost", "earlier", "behind"),
    [
        (0.9, [], False),
        (0.9, [0.5], True),
        (0.4, [0.5], False),
        (0.6, [0.5, 0.7], True),
        (0.6, [0.5, 0.7, 0.8, 0.9, 1.0], False),
        (0.6, [0.5, 0.5, 0.8, 0.9, 1.0], True),
    ],
)
def test_the_best_third_at_a_rung_goes_on_and_at_least_one(cost: float, earlier: list[float], behind: bool) -> None:
    assert falls_behind(cost, earlier) == behind


def test_trials_that_fall_behind_are_pruned(tmp_path: Path) -> None:
    found = search(tmp_path, trials=20)
    pruned = [one for one in found.trials if one.state == "pruned"]
    assert pruned
    assert all(one.value is None and "epoch" in one.reason for one in pruned)
    kept = search(tmp_path / "all", trials=20, pruning=False)
    assert not [one for one in kept.trials if one.state == "pruned"]


def test_what_was_confirmed_before_is_not_forgotten(tmp_path: Path) -> None:
    class Lucky(Quadratic):
        """By its first seed, the first trial is the worst of four that meet the target; by further seeds, the best."""

        def __call__(self, values: Values, seed: int, at_rung: Any, check: Any) -> Judged:
            first, further = {4: (0.4, 0.6)}.get(values.hyperparameters["units"], (0.3, 0.7))
            return Judged([first if seed == 7 else further], [1])

    found = search(tmp_path, Lucky(), target=0.5, trials=4)
    assert (found.ended, found.winner, found.value) == ("trials", 0, 0.6)


def test_a_winner_whose_further_seeds_fail_has_no_figure(tmp_path: Path) -> None:
    def diverges(values: Values, seed: int) -> Exception | None:
        return TrainingError("it diverged") if seed != 7 else None

    found = search(tmp_path, Quadratic(diverges), target=-1.0, trials=3)
    assert found.value is None
    reason = Tuned.of(found, goal_of("binary", "val_loss", -1.0), [], 3.0, 0.0).reason
    assert "could not be trained with further seeds" in reason
    assert "missed" in reason


def test_a_draw_that_the_space_of_model_py_refuses_is_a_failed_trial(tmp_path: Path) -> None:
    def narrow(trial: Any) -> dict[str, Any]:
        units = trial.suggest_int("units", 1, 64)
        if units > 40:
            raise ModuleError(f"{units} are too many")
        return {"units": units}

    found = search(tmp_path, space=Space({}, narrow))
    assert any("too many" in one.reason and one.state == "failed" for one in found.trials)
    assert found.values.hyperparameters["units"] <= 40
    again = Quadratic()
    search(tmp_path, again, space=Space({}, narrow))
    assert again.calls == []


def test_failed_trials_are_recorded(tmp_path: Path) -> None:
    def diverges(values: Values, seed: int) -> Exception | None:
        return TrainingError("it diverged") if values.hyperparameters["units"] > 30 else None

    found = search(tmp_path, Quadratic(diverges))
    assert {one.reason for one in found.trials if one.state == "failed"} == {"it diverged"}
    assert found.values.hyperparameters["units"] <= 30


def test_a_module_that_cannot_be_trained_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="broken"):
        search(tmp_path, Quadratic(lambda *_: ModuleError("broken")))
    with pytest.raises(TrainingError, match=r"none of 3 trials.*diverged"):
        search(tmp_path, Quadratic(lambda *_: TrainingError("it diverged")), trials=3)


def test_each_trial_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    search(tmp_path, told=told, trials=3)
    assert told[1].startswith("trial 2 of 3, best val_loss ")
    assert "left" in told[1]


def test_a_search_on_a_bucket_that_was_stopped_leaves_the_same_files(
    tmp_path: Path, storage_server: StorageServer
) -> None:
    search(tmp_path / "here")
    uri = storage_server.uri("tuning")
    stopping = Quadratic()
    stopping._fail = lambda *_: KeyboardInterrupt() if len(stopping.calls) > 4 else None  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        search(uri, stopping)
    search(uri)
    there = {file.name: storage.read_bytes(file.uri) for file in storage.list_files(uri) if file.name.endswith(".json")}
    assert there == contents(tmp_path / "here")


def test_the_page_shows_trials_importance_and_slices(tmp_path: Path) -> None:
    found = search(tmp_path, trials=30, pruning=False)
    goal = goal_of("binary", "val_loss", None)
    decides = importance(found.trials, costs(found.trials, goal))
    assert max(decides, key=lambda name: decides[name]) == "units"
    assert not importance(found.trials, {one.number: 0.5 for one in found.trials}), "where all are alike, nothing does"
    tuned = Tuned.of(found, goal, [], 3.0, 0.0)
    page = render_tuning(TuningFile(tuned=tuned, trials=found.trials, confirmed=found.confirmed, importance=decides))
    for part in ("Trials over time", "What decides", "layers.length", "winner"):
        assert part in page
    for last, said in ((1.3, False), (99.0, True)):
        values = (1.0, 1.1, 1.2, last)
        trials = [one.model_copy(update={"value": value}) for one, value in zip(found.trials, values, strict=False)]
        page = render_tuning(TuningFile(tuned=tuned, trials=trials))
        assert ("Without 1 of the complete trials" in page) == said
