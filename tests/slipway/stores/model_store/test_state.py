"""The rules of stages and pin: by example, and by any sequence of actions on a real store."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from slipway.errors import ModelQuarantinedError, StoreError
from slipway.stores.model_store import Event, LocalModelStore, Stage
from slipway.stores.model_store.state import State, adopt, apply, prunable, rollback_target
from tests.model_files import provenance
from tests.properties import examples


def event(action: str, version: int, previous: int | None = None) -> Event:
    return Event.model_validate(
        {"when": 1.0, "action": action, "version": version, "previous": previous, "who": "ann", "why": f"why {version}",
         "model_digest": f"digest {version}"}
    )  # fmt: skip


def state(*actions: tuple[str, int], versions: int = 5) -> State:
    """Versions 1 … n were pushed, and then this was done."""
    now = adopt(State(model="taxi"), [event("push", number) for number in range(1, versions + 1)])
    for action, version in actions:
        now = apply(now, event(action, version, now.pin))
    return now


def test_push_makes_a_candidate_and_is_in_the_history_once() -> None:
    now = state(versions=1)
    assert (now.pin, now.stages) == (None, {1: "candidate"})
    assert adopt(now, [event("push", 1)]) is now


@pytest.mark.parametrize(
    ("actions", "stages"),
    [
        ([("promote", 1)], ["stable", "candidate", "candidate"]),
        ([("promote", 1), ("promote", 2)], ["retired", "stable", "candidate"]),
        ([("promote", 1), ("promote", 2), ("promote", 1)], ["stable", "retired", "candidate"]),
        ([("canary", 2), ("canary", 3)], ["candidate", "candidate", "canary"]),
        ([("promote", 1), ("canary", 2), ("promote", 2)], ["retired", "stable", "candidate"]),
        ([("promote", 1), ("canary", 2), ("quarantine", 2)], ["stable", "quarantined", "candidate"]),
        ([("promote", 1), ("canary", 2), ("retire", 2)], ["stable", "retired", "candidate"]),
        ([("promote", 1), ("promote", 2), ("rollback", 1)], ["stable", "quarantined", "candidate"]),
    ],
)
def test_apply_leads_to_these_stages(actions: list[tuple[str, int]], stages: list[Stage]) -> None:
    now = state(*actions, versions=3)
    assert list(now.stages.values()) == stages
    assert [number for number, stage in now.stages.items() if stage == "stable"] == ([now.pin] if now.pin else [])


def test_apply_promotion_records_the_pin_before() -> None:
    assert [event.previous for event in state(("promote", 1), ("promote", 3)).history[-2:]] == [None, 1]


@pytest.mark.parametrize("action", ["canary", "promote", "quarantine", "retire"])
def test_apply_what_is_so_already_changes_nothing(action: str) -> None:
    before = state((action, 2))
    assert apply(before, event(action, 2)) is before


@pytest.mark.parametrize(
    ("actions", "refused", "message"),
    [
        ([], ("promote", 9), "version 9 of taxi cannot be promoted: there is no such version"),
        ([("promote", 1)], ("quarantine", 1), "cannot be quarantined: it is the stable version. Promote another"),
        ([("promote", 1)], ("canary", 1), "cannot be made the canary: it is the stable version"),
        ([("promote", 1)], ("delete", 1), "cannot be deleted: it is the stable version"),
        ([("promote", 1), ("promote", 2)], ("rollback", 2), "version 2 is in production already"),
        ([("promote", 1), ("promote", 2)], ("rollback", 3), "version 3 was never promoted"),
        ([], ("rollback", 3), "ever promoted"),
        ([("canary", 1)], ("delete", 1), "it is canary, and must be candidate or quarantined or retired"),
        ([("delete", 1)], ("promote", 1), "its files were deleted; see `slipway models history taxi`"),
        ([("delete", 1)], ("delete", 1), "cannot be deleted: its files were deleted"),
    ],
)  # fmt: skip
def test_apply_against_the_rules_is_refused(
    actions: list[tuple[str, int]], refused: tuple[str, int], message: str
) -> None:
    now = state(*actions)
    with pytest.raises(StoreError, match=message):
        apply(now, event(*refused, previous=now.pin))


@pytest.mark.parametrize("action", ["promote", "canary", "rollback", "retire"])
def test_apply_quarantine_is_for_good(action: str) -> None:
    now = state(("promote", 1), ("quarantine", 2))
    with pytest.raises(ModelQuarantinedError, match=r"version 2 of taxi cannot be .*quarantined by ann: why 2"):
        apply(now, event(action, 2, previous=now.pin))


def test_apply_quarantine_bars_the_same_bytes_under_another_number() -> None:
    now = state(("promote", 4), ("promote", 5))
    twins = adopt(now, [event("push", 6).model_copy(update={"model_digest": "digest 4"})])
    barred = apply(twins, event("quarantine", 6).model_copy(update={"model_digest": "digest 4"}))
    assert barred.stages[4] == "retired"
    assert rollback_target(barred, [4, 5, 6]) is None
    with pytest.raises(ModelQuarantinedError, match=r"version 6 of taxi, .*ann: why 6"):
        apply(barred, event("promote", 4))


def test_apply_rollback_from_a_pin_that_somebody_moved_is_refused() -> None:
    now = state(("promote", 1), ("promote", 2), ("promote", 3))
    once = apply(now, event("rollback", 2, previous=3))
    with pytest.raises(StoreError, match=r"taxi .*2 now, not 3"):
        apply(once, event("rollback", 2, previous=3))


@pytest.mark.parametrize(
    ("actions", "target"),
    [
        ([("promote", 1)], None),
        ([("promote", 1), ("promote", 3)], 1),
        ([("promote", 1), ("promote", 3), ("promote", 4), ("rollback", 3)], 1),
        ([("promote", 1), ("promote", 2), ("promote", 3), ("quarantine", 2)], 1),
        ([("promote", 1), ("promote", 2), ("delete", 1)], None),
        # What a rollback went past is not gone forward to.
        ([("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 1)], None),
        ([("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 1), ("rollback", 2), ("promote", 4)], 2),
        ([("promote", 1), ("promote", 2), ("promote", 1)], 2),
        ([("promote", 1), ("promote", 2), ("rollback", 1), ("promote", 3)], 1),
        # Nothing was ever promoted.
        ([], None),
        ([("canary", 4), ("quarantine", 5)], None),
    ],
)
def test_rollback_target_is_the_stable_version_before(actions: list[tuple[str, int]], target: int | None) -> None:
    now = state(*actions)
    assert rollback_target(now, sorted(now.stages.keys() - now.deleted)) == target


@pytest.mark.parametrize(
    ("actions", "keep", "doomed"),
    [
        ([], 0, [1, 2, 3]),
        ([], 2, [1]),
        ([], 9, []),
        ([("promote", 1), ("promote", 2)], 0, [3, 4, 5]),
        ([("promote", 1), ("promote", 2), ("canary", 5)], 1, [3]),
        ([("promote", 1), ("promote", 2), ("promote", 3), ("quarantine", 4)], 0, [1, 4, 5]),
    ],
)
def test_prunable_spares_what_is_needed(actions: list[tuple[str, int]], keep: int, doomed: list[int]) -> None:
    assert prunable(state(*actions), [1, 2, 3, 4, 5], keep) == doomed


class AnySequence(RuleBasedStateMachine):
    """Whatever people do, in whatever order, with what they saw before or made up."""

    @initialize()
    def new_store(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-store-"))
        self.store = LocalModelStore(self.folder / "store", clock=lambda: 10.0)
        self.pushed: dict[int, str] = {}
        self.history: list[Event] = []
        self.quarantined: set[int] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def attempt(self, action: Callable[[], object]) -> None:
        """Does it or is refused; the history grows by what was done, and is never rewritten."""
        before = self.store.stages("taxi")
        try:
            action()
        except StoreError:
            assert self.store.stages("taxi") == before
            assert self.store.history("taxi") == self.history
            return
        history = self.store.history("taxi")
        assert history[: len(self.history)] == self.history
        changed = self.store.stages("taxi") != before
        assert (len(history) > len(self.history)) == changed
        assert len(history) - len(self.history) <= 1 or history[-1].action == "delete"
        self.history = history

    @rule(seed=st.integers(0, 6))
    def push(self, seed: int) -> None:
        def action() -> None:
            model = self.folder / f"model-{seed}"
            model.mkdir(exist_ok=True)
            (model / "saved_model.pb").write_text(f"{seed}")
            pushed = self.store.push(model, provenance())
            assert pushed.version.manifest.model_digest not in {self.pushed[number] for number in self.quarantined}
            if pushed.is_new:
                assert pushed.version.number > max(self.pushed, default=0)
                self.pushed[pushed.version.number] = pushed.version.manifest.model_digest

        self.attempt(action)

    def pick(self, index: int) -> int:
        numbers = [*self.pushed, 7]
        return numbers[index % len(numbers)]

    @rule(index=st.integers(0, 20), action=st.sampled_from(["promote", "mark_canary", "quarantine", "retire"]))
    def act(self, index: int, action: str) -> None:
        number = self.pick(index)
        before = self.store.stages("taxi").get(number)
        same_bytes = {self.pushed[barred] for barred in self.quarantined}

        def apply() -> None:
            getattr(self.store, action)("taxi", number)
            served = action in ("promote", "mark_canary") and before not in ("stable", "canary")
            assert not (served and self.pushed[number] in same_bytes)

        self.attempt(apply)

    @rule(index=st.none() | st.integers(0, 20))
    def rollback(self, index: int | None) -> None:
        before = self.store.production("taxi")

        def action() -> None:
            event = self.store.rollback("taxi", None if index is None else self.pick(index))
            assert before is not None
            assert event.previous == before.number
            assert self.pushed[event.version] not in {self.pushed[number] for number in self.quarantined}
            assert self.store.stage("taxi", before.number) == "quarantined"
            assert event.version in {one.version for one in self.history if one.action == "promote"}

        self.attempt(action)

    @precondition(lambda self: len(self.pushed) > 2)
    @rule(keep=st.integers(0, 3))
    def prune(self, keep: int) -> None:
        self.attempt(lambda: self.store.prune("taxi", keep))

    @invariant()
    def the_pin_is_the_one_stable_version_and_there_and_intact(self) -> None:
        stages, production = self.store.stages("taxi"), self.store.production("taxi")
        stable = [number for number, stage in stages.items() if stage == "stable"]
        assert len(stable) <= 1
        assert list(stages.values()).count("canary") <= 1
        barred = {self.pushed[number] for number in self.quarantined}
        if production is None:
            assert {self.pushed[number] for number in stages} <= barred
        else:
            assert stages[production.number] != "quarantined"
            assert stable in ([], [production.number])
            assert stable or production.manifest.model_digest not in barred
            assert self.store.verify(production) == []

    @invariant()
    def quarantine_never_ends(self) -> None:
        stages = self.store.stages("taxi")
        assert all(stages.get(number, "quarantined") == "quarantined" for number in self.quarantined)
        self.quarantined |= {number for number, stage in stages.items() if stage == "quarantined"}

    @invariant()
    def what_a_poller_sees_is_what_the_store_says(self) -> None:
        base = self.folder / "store" / "taxi"
        names = {path.name for path in base.iterdir()} if base.is_dir() else set()
        visible = {int(name) for name in names if not name.startswith(".")}
        assert visible == set(self.store.stages("taxi"))
        history = self.store.history("taxi")
        deleted = {event.version for event in history if event.action == "delete"}
        assert visible | deleted == set(self.pushed)
        assert [event.version for event in history if event.action == "push"] == sorted(self.pushed)


AnySequence.TestCase.settings = settings(max_examples=examples(15), stateful_step_count=20, deadline=None)
test_any_sequence_of_actions_keeps_the_invariants = AnySequence.TestCase
