"""Two monitors at once, on a disk and on a bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slipway.errors import StoreError
from slipway.module_api import Retraining
from slipway.monitoring.decision import Decision, Findings, State, decide
from slipway.monitoring.state import change_state, read_state
from slipway.stores import storage
from tests.fakes.fault_proxy import FaultProxy

ASKED = Findings(window="1", model_version=1, data_digest="d", asked="schedule")
POLICY = Retraining(triggers=("schedule",))


def ask(state: State) -> tuple[Decision, State]:
    return decide(state, 100.0, ASKED, POLICY)


def test_monitors_at_once_train_the_same_cause_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        actions = sorted(decision.action for decision in pool.map(lambda _: change_state(str(tmp_path), ask), range(4)))
    assert actions == ["alert", "alert", "alert", "train"]
    assert len(read_state(str(tmp_path)).trainings) == 1


def test_a_monitor_that_was_overtaken_on_a_bucket_decides_anew(fault_proxy: FaultProxy) -> None:
    folder = fault_proxy.uri("state")
    seen: list[int] = []

    def overtaken(state: State) -> tuple[Decision, State]:
        seen.append(len(state.trainings))
        if len(seen) == 1:
            assert change_state(folder, ask).action == "train"
        return ask(state)

    assert change_state(folder, overtaken).action == "alert"
    assert seen == [0, 1]


@pytest.fixture(params=["local", "google_proxy", pytest.param("s3_proxy", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "state")
    return str(request.getfixturevalue(request.param).uri("state"))


def test_a_change_that_fails_leaves_the_state_as_it_was(folder: str) -> None:
    change_state(folder, lambda state: (None, state.model_copy(update={"windows": ["1"]})))

    def fail(state: State) -> tuple[None, State]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        change_state(folder, fail)
    assert read_state(folder).windows == ["1"]


def test_a_damaged_state_is_named_and_not_replaced(folder: str) -> None:
    storage.write_text(uri := storage.join(folder, "state.json"), '{"windows": 1}')
    with pytest.raises(StoreError, match=r"/state/state\.json is damaged: windows: "):
        change_state(folder, lambda state: (None, state))
    assert storage.read_text(uri) == '{"windows": 1}'
