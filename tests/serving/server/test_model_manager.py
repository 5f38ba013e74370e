"""Which versions the manager loads and unloads, from real SavedModels in real directories."""

from __future__ import annotations

import threading
import time

import pytest

from serving.protocol.errors import ServingError
from serving.server.model_sources import Wanted
from serving.server.model_versions import State
from tests.serving.server.managing import config, managing, predict, states
from tests.serving.server.versions_on_disk import VersionsOnDisk, without
from tests.serving.server.waiting import eventually


def test_manager_new_version_is_loaded_before_the_old_one_goes(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        assert predict(manager) == 1
        versions.add(2)
        seen = set()
        while states(manager) != {1: "END", 2: "AVAILABLE"}:
            seen.add(predict(manager))
        assert predict(manager) == 2
        assert seen <= {1, 2}
        with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 1\)"):
            manager.use("m", 1)


def test_manager_names_that_are_no_integers_are_ignored(versions: VersionsOnDisk) -> None:
    versions.add(3)
    for name in ("x4", "4.0", ".9", "-5", "9" * 20):
        (versions.base / name).mkdir()
    with managing(config(versions.base, "all")) as manager:
        assert states(manager) == {3: "AVAILABLE"}


@pytest.mark.parametrize(
    ("policy", "expected"), [("", {4}), ("latest2", {3, 4}), ("all", {1, 2, 3, 4}), ("1,3,9", {1, 3})]
)
def test_manager_policy_chooses_versions(versions: VersionsOnDisk, policy: str, expected: set[int]) -> None:
    for number in (1, 2, 3, 4):
        versions.add(number)
    with managing(config(versions.base, policy)) as manager:
        eventually(lambda: states(manager) == dict.fromkeys(expected, "AVAILABLE"))
        assert predict(manager) == max(expected)
        assert predict(manager, version=min(expected)) == min(expected)


def test_manager_empty_base_path_unloads_everything(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.remove(1)
        eventually(lambda: states(manager) == {1: "END"})
        with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(m\)"):
            manager.use("m")
        versions.add(1)
        eventually(lambda: states(manager) == {1: "AVAILABLE"})


def test_manager_missing_base_path_changes_nothing(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        versions.base.rename(versions.base.with_name("elsewhere"))
        time.sleep(0.1)
        assert states(manager) == {1: "AVAILABLE"}
        assert predict(manager) == 1


def test_manager_request_in_flight_ends_on_its_version(versions: VersionsOnDisk) -> None:
    versions.add(1)
    with managing(config(versions.base)) as manager:
        with manager.use("m") as servable:
            versions.add(2)
            eventually(lambda: states(manager) == {1: "UNLOADING", 2: "AVAILABLE"})
            time.sleep(0.1)
            assert states(manager)[1] == "UNLOADING"
            assert servable.version == 1
            assert len(servable.predict("raw", {})["predictions"]) == 1
        eventually(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


def test_manager_requests_never_fail_while_versions_come_and_go(versions: VersionsOnDisk) -> None:
    versions.add(1)
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                predict(manager)
            except Exception as error:
                failures.append(error)

    with managing(config(versions.base)) as manager:
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(2, 6):
            versions.add(number, without("variables") if number == 4 else lambda path: None)
            eventually(lambda number=number: states(manager).get(number) in ("AVAILABLE", "END"))  # type: ignore[misc]
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_manager_label_waits_for_its_version(versions: VersionsOnDisk) -> None:
    versions.add(1)
    source = Switching(Wanted({1: versions.base / "1"}, {"stable": 1}, default=1))
    with managing(source) as manager:
        broken = versions.add(2, without("saved_model.pb"))
        newer = versions.add(3)
        source.wanted = Wanted({2: broken, 3: newer}, {"stable": 2, "canary": 3}, default=2)
        eventually(lambda: states(manager) == {1: "AVAILABLE", 2: "END", 3: "AVAILABLE"})
        assert predict(manager, label="stable") == 1
        assert predict(manager, label="canary") == 3
        assert predict(manager) == 1
        source.wanted = Wanted({3: newer}, {"stable": 3}, default=3)
        eventually(lambda: states(manager)[1] == "END")
        assert predict(manager, label="stable") == 3
        with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
            manager.use("m", label="canary")


def test_manager_source_that_raises_changes_nothing(versions: VersionsOnDisk) -> None:
    versions.add(1)
    source = Switching(Wanted({1: versions.base / "1"}))
    with managing(source) as manager:
        source.wanted = OSError("the store is away")
        time.sleep(0.1)
        assert predict(manager) == 1
        source.wanted = Wanted({2: versions.add(2)})
        eventually(lambda: predict(manager) == 2)


def test_manager_of_a_version_with_several_names_takes_the_one_without_zeros(versions: VersionsOnDisk) -> None:
    for name in ("001", "01"):
        versions.add(2, without("saved_model.pb")).rename(versions.base / name)
    for name in ("1", str(2**63), "9" * 30):
        versions.add(2).rename(versions.base / name)
    with managing(config(versions.base)) as manager:
        assert predict(manager) == 1
        assert states(manager) == {1: "AVAILABLE"}


def test_states_have_the_numbers_of_the_protocol() -> None:
    from serving.protocol.protos import get_model_status_pb2

    numbers = dict(get_model_status_pb2.ModelVersionStatus.State.items())
    del numbers["UNKNOWN"]
    assert {state.name: int(state) for state in State} == numbers


class Switching:
    """A source that wants what a test says."""

    def __init__(self, wanted: Wanted | Exception) -> None:
        self.wanted = wanted

    def poll(self) -> dict[str, Wanted | None]:
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return {"m": self.wanted}

    def describe(self, model: str) -> str:
        return f"the test wants nothing of {model}"
