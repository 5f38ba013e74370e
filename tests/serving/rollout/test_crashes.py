"""Repeated crashes that no log explains: they blame the model, unless something else is known to be at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from slipway.errors import RolledBackError
from tests.fakes.kubernetes.controller import Crash, Fate
from tests.fakes.kubernetes.world import DIGEST, World

CANARY = "taxi-serving-canary"


def then(world: World, *ends: Crash, fate: Fate = "crash") -> None:
    """How the canary's server ends, from one look at it to the next; at last it has this fate."""
    coming: Iterator[Crash] = iter(ends)

    def become() -> None:
        crash = next(coming, None)
        world.api.fates[CANARY] = "crash" if crash else fate
        world.api.controller.crash = crash or ends[-1]
        world.api.controller.look()

    world.api.fates[CANARY] = "stall"
    world.on_pause = become


def fails(world: World, number: int, why: str, stage: str) -> None:
    with pytest.raises(RolledBackError, match=f"(?s){why}"):
        world.start(number)
    assert world.store.stage("taxi", number) == stage


def change_image(world: World) -> None:
    world.objects = yaml.safe_load(yaml.safe_dump(world.objects).replace(DIGEST, "sha256:" + "c" * 64))


@pytest.mark.parametrize("log", ["", "Segmentation fault"])
@pytest.mark.parametrize("code", [134, 139, 1, 255])
def test_start_server_that_crashes_three_times_is_quarantined_beside_pods_that_serve(
    served: World, code: int, log: str
) -> None:
    first, second = served.versions[:2]
    then(served, *(Crash(log, code, times=times) for times in (1, 2, 3)))
    ready = f"crashed 3 times .*and pod taxi-serving-[^ ]+ serves another with its image.*{re.escape(log)}"
    fails(served, second, f"CrashLoopBackOff after 2 restarts, exit code {code} Error: it {ready}", "quarantined")
    assert served.stable == first


def test_start_server_that_crashes_twice_and_comes_up_is_served(served: World) -> None:
    then(served, Crash("", 139, times=1), Crash("", 139, times=2), fate="ready")
    served.start(served.versions[1])
    assert served.stable == served.versions[1]


def test_start_server_that_crashed_twice_when_time_is_over_is_retired(served: World) -> None:
    served.policy = served.policy.model_copy(update={"ready_seconds": 1})
    then(served, Crash("", 139, times=1), *[Crash("", 139, times=2)] * 1000)
    fails(served, served.versions[1], "not ready after 1 s: .*CrashLoopBackOff", "retired")


KILLED, CRASHED = (137, "OOMKilled"), (139, "Error")


@pytest.mark.parametrize("ends", [(KILLED, CRASHED, CRASHED), (CRASHED, KILLED, CRASHED), (CRASHED, CRASHED, KILLED)])
def test_start_crashes_mixed_with_a_kill_for_memory_blame_nobody(
    served: World, ends: tuple[tuple[int, str], ...]
) -> None:
    then(served, *(Crash("", *end, times=times) for times, end in enumerate(ends, 1)))
    fails(served, served.versions[1], "killed for memory", "retired")


def test_start_crashes_of_a_first_version_blame_it(world: World) -> None:
    then(world, *(Crash("", 139, times=times) for times in (1, 2, 3)))
    fails(world, world.versions[0], "crashed 3 times .*none of these ends says why", "quarantined")


def test_start_crashes_with_a_new_image_blame_nobody(served: World) -> None:
    change_image(served)
    then(served, Crash("", 139))
    fails(served, served.versions[1], "with another image than the pods that serve", "retired")


def test_start_crashes_while_pods_with_the_same_image_are_not_ready_blame_nobody(served: World) -> None:
    then(served, Crash("", 139))
    served.api.fates["taxi-serving"] = "crash"
    fails(served, served.versions[1], "other pods with its image are not ready either", "retired")


def test_promoted_version_that_crashes_while_its_canary_serves_is_not_blamed(served: World) -> None:
    first, second = served.versions[:2]
    served.api.fates[f"taxi-serving@{second}"] = "crash"
    served.api.controller.crash = Crash("", 139)
    fails(served, second, f"crashed 3 times while it loaded this version, but pod {CANARY}.* serves it", "retired")
    assert served.stable == first
