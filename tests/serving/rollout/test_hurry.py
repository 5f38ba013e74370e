"""What people do in a hurry: commands twice, at once, one while another is under way, and what was deleted by hand."""

from __future__ import annotations

import pytest

from serving.rollout.lease import Phase
from slipway.errors import RolledBackError, RolloutBusyError, RolloutError
from tests.fakes.kubernetes.world import NAMESPACE, World, leave


def test_promote_twice_says_what_became_of_the_first(held: World) -> None:
    second = held.versions[1]
    with held.cluster() as cluster:
        held.rollout(cluster).promote("looks fine")
        with pytest.raises(
            RolloutError, match=f"no rollout of taxi is running: version {second} is promoted since .*looks fine"
        ):
            held.rollout(cluster).promote("looks fine")
        with pytest.raises(RolloutError, match=f"version {second} is promoted since"):
            held.rollout(cluster).abort("too late")
    assert held.stable == second


@pytest.mark.parametrize("blames_model", [True, False])
def test_abort_of_a_rollback_that_died_does_what_had_been_decided(held: World, blames_model: bool) -> None:
    first, second = held.versions[:2]
    leave(held, phase="rolling-back", blames_model=blames_model, reasons=["p99 doubled"])
    with held.cluster() as cluster:
        rollout = held.rollout(cluster)
        if blames_model:
            with pytest.raises(RolledBackError, match="p99 doubled"):
                rollout.abort("whatever")
        else:
            assert rollout.abort("whatever").reasons == ["p99 doubled"]
    assert (held.stable, held.deployment("taxi-serving-canary")) == (first, None)
    assert held.store.stage("taxi", second) == ("quarantined" if blames_model else "retired")


def test_abort_that_died_is_ended_by_another(held: World) -> None:
    first, second = held.versions[:2]
    leave(held, phase="rolling-back", blames_model=False, reasons=["aborted by ann: not today"])
    with held.cluster() as cluster:
        assert held.rollout(cluster).abort("again").phase == "aborted"
    assert (held.stable, held.store.stage("taxi", second)) == (first, "retired")


@pytest.mark.parametrize("phase", ["canary", "held", "promoting", "rolling-back"])
def test_rollback_during_a_canary_names_what_ends_it_and_changes_nothing(held: World, phase: Phase) -> None:
    leave(held, phase=phase)
    before = held.store.stages("taxi")
    with held.cluster() as cluster, pytest.raises(RolloutBusyError, match="end that first: `slipway rollout "):
        held.rollout(cluster).rollback("users complain")
    assert held.store.stages("taxi") == before


def test_rollback_where_stable_was_deleted_by_hand_names_the_version_that_then_serves(
    twice: World,
) -> None:
    second = twice.versions[1]
    twice.api.objects.delete("Deployment", NAMESPACE, "taxi-serving")
    with twice.cluster() as cluster:
        with pytest.raises(RolloutError, match=f"nothing serves.*`slipway rollout start taxi/{second}`"):
            twice.rollout(cluster).rollback("nothing answers")
        assert twice.rollout(cluster).start(second).phase == "promoted"
    assert twice.stable == second
    with twice.cluster() as cluster:
        twice.rollout(cluster).rollback("now really")
    assert twice.stable == twice.versions[0]


def test_start_that_a_person_interrupts_gives_the_lease_back_and_says_how_to_go_on(served: World) -> None:
    second = served.versions[1]

    def interrupt() -> None:
        raise KeyboardInterrupt

    served.api.fates["taxi-serving-canary"] = "stall"
    served.on_pause = interrupt
    with pytest.raises(KeyboardInterrupt):
        served.start(second)
    assert f"`slipway rollout start taxi/{second}`" in served.said[-1]
    with served.cluster() as cluster:
        status = served.rollout(cluster).status()
        assert (status["holder"], status["rollout"]["phase"]) == (None, "canary")
        served.on_pause = lambda: None
        assert served.rollout(cluster).abort("not now").phase == "aborted"


@pytest.mark.parametrize(
    ("phase", "commands"),
    [
        ("held", ["start taxi/{}", "promote taxi", "abort taxi"]),
        ("reverting", ["rollback taxi"]),
        ("rolling-back", ["start taxi/{}"]),
        ("promoted", []),
    ],
)
def test_status_names_the_commands_that_end_what_was_left(held: World, phase: Phase, commands: list[str]) -> None:
    leave(held, phase=phase)
    with held.cluster() as cluster:
        told = held.rollout(cluster).status()["commands"]
    assert told == [f"slipway rollout {one.format(held.versions[1])}" for one in commands]
