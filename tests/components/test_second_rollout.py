"""rollout_model, started twice with the same arguments: nothing is rolled out, judged or quarantined a second time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.confirm_rollout.component import confirm_rollout
from components.rollout_model.run import roll_out
from serving.manifests import publish_manifests
from serving.rollout.engine import Rollout
from slipway.errors import RolloutError, RolloutInconclusiveError
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RolloutOutcome, RunContext
from slipway.runs.store import OUTCOME, ROLLOUT
from slipway.stores import storage
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.server import ACCOUNT
from tests.fakes.kubernetes.world import DIGEST, NAMESPACE, PROJECT, World, first_served, leave, open_world, short_pause
from tests.steps import FIELDS


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Version one serves; the canary of another gets its traffic."""
    with open_world(tmp_path, after=first_served) as opened:
        yield opened


def arguments(world: World, version: int, run: str = "run-1") -> list[Any]:
    """Of the step, in a run that pushed this version."""
    folder = Path(world.store.uri).parent / run
    outcome = Outcome(verdict="pushed", reasons=[], version=version)
    storage.write_text(str(folder / OUTCOME), outcome.model_dump_json())
    uri = publish_manifests(world.objects, str(folder.parent))
    lineage = Lineage(run=run, module="taxi", module_digest="m", data_uri="trips.csv")
    policy = world.policy.model_dump(mode="json")
    config = {"manifests_uri": uri, "cluster": "", "policy": policy, "environment": "staging"}
    return [world.store.uri, config, RunContext(uri=str(folder), lineage=lineage)]


def recorded(asked: list[Any]) -> RolloutOutcome:
    return RolloutOutcome.model_validate_json(Path(asked[2].uri, ROLLOUT).read_bytes())


def forget(asked: list[Any]) -> None:
    """The first start was killed after the end of the rollout, before it wrote the run's record."""
    Path(asked[2].uri, ROLLOUT).unlink()


def done(world: World) -> list[tuple[str, int]]:
    """What was done to the versions, and to the Deployments."""
    changes = [(event.action, event.version) for event in world.store.history("taxi") if event.action != "push"]
    return changes + [(name, 0) for kind, name, _ in world.api.objects.writes if kind == "Deployment"]


@pytest.mark.parametrize("record", [pytest.param("kept", marks=pytest.mark.slow), "lost"])
def test_rollout_model_that_promoted_says_so_again(world: World, record: str) -> None:
    second = world.versions[1]
    asked = arguments(world, second)
    first = roll_out(*asked)
    assert first is not None
    assert (first.verdict, bool(first.reasons)) == ("promoted", True)
    before = done(world)
    if record == "lost":
        forget(asked)
    assert roll_out(*asked) == first == recorded(asked)
    assert done(world) == before


@pytest.mark.parametrize("record", [pytest.param("kept", marks=pytest.mark.slow), "lost"])
@pytest.mark.parametrize("fate", ["image", "wrong answers"])
def test_rollout_model_that_rolled_back_says_so_again(world: World, record: str, fate: str) -> None:
    second = world.versions[1]
    asked = arguments(world, second)
    if fate == "image":  # not the model's fault: a person may start it again, and the step may not
        world.api.fates["taxi-serving-canary"] = "image"
    else:
        world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])
    first = roll_out(*asked)
    assert first is not None
    assert world.store.stage("taxi", second) == ("retired" if fate == "image" else "quarantined")
    reason, before = first.reasons[0].partition("Why: ")[2], done(world)
    world.api.fates.clear()
    if record == "lost":
        forget(asked)
    again = roll_out(*asked)
    assert again == recorded(asked)
    assert reason in again.reasons[0]
    assert (again.verdict, again.version) == ("rolled-back", second)
    assert done(world) == before
    if fate == "image":
        world.start(second)
        assert world.stable == second


def test_confirm_rollout_says_the_same_again(tmp_path: Path) -> None:
    lineage = Lineage(run="run-1", module="taxi", module_digest="m", data_uri="trips.csv")
    run = RunContext(uri=str(tmp_path), lineage=lineage).model_dump_json()
    for _ in range(2):
        with pytest.raises(RolloutError, match="p99 doubled"):
            confirm_rollout.python_func("p99 doubled", run, "1", "", **FIELDS)


@pytest.mark.parametrize("since", ["a newer version", "a rollback by hand"])
def test_rollout_model_leaves_what_others_rolled_out_since(world: World, since: str) -> None:
    second, third = world.versions[1:]
    asked = arguments(world, second)
    first = roll_out(*asked)
    if since == "a newer version":
        roll_out(*arguments(world, third, "run-2"))
    else:
        with world.cluster() as cluster:
            world.rollout(cluster).rollback("complaints")
    before = done(world)
    assert roll_out(*asked) == first == recorded(asked)
    assert done(world) == before


def test_rollout_model_whose_canary_a_person_aborted_does_not_begin_again(world: World) -> None:
    asked = arguments(world, world.versions[1])
    world.servers.new_pod = Pod  # no traffic: the canary is held
    with pytest.raises(RolloutError):
        roll_out(*asked)
    with world.cluster() as cluster:
        world.rollout(cluster).abort("not today")
    before = done(world)
    with pytest.raises(RolloutError, match=r"aborted already by .*run run-1\): aborted by .*ann\): not today"):
        roll_out(*asked)
    assert recorded(asked).verdict == "failed"
    assert done(world) == before


def test_rollout_model_whose_canary_a_person_aborted_does_not_begin_again_after_another_rollout(world: World) -> None:
    """The lease tells of the last rollout only."""
    policy, world.policy = world.policy, world.policy.model_copy(update={"min_requests": 10**6})
    second = world.versions[1]
    with pytest.raises(RolloutInconclusiveError):
        roll_out(*arguments(world, second))
    with world.cluster() as cluster:
        world.rollout(cluster).abort("not today")
    world.policy = policy
    world.objects = yaml.safe_load(yaml.safe_dump(world.objects).replace(DIGEST, "sha256:" + "c" * 64))
    world.start(world.versions[0])
    before = done(world)
    with pytest.raises(
        RolloutError,
        match=rf"is retired since .*ann\), aborted by .*ann\): not today.*start taxi/{second} --env staging`",
    ):
        roll_out(*arguments(world, second))
    assert done(world) == before
    world.start(second)
    assert world.stable == second


def test_rollout_model_leaves_what_a_person_retired_after_the_push(world: World) -> None:
    second = world.versions[1]
    run = world.store.version("taxi", second).manifest.lineage.run
    world.store.retire("taxi", second, why="not this one", who="ann")
    with pytest.raises(RolloutError, match=r"is retired since .* by ann, not this one"):
        roll_out(*arguments(world, second, run=run))
    assert world.stable == world.versions[0]


def test_rollout_model_of_another_run_may_start_the_same_bytes_after_an_abort(world: World) -> None:
    """Abort does not judge a version, and a run that trains the same model again pushes no other."""
    second = world.versions[1]
    policy, world.policy = world.policy, world.policy.model_copy(update={"min_requests": 10**6})
    with pytest.raises(RolloutInconclusiveError):
        roll_out(*arguments(world, second))
    with world.cluster() as cluster:
        world.rollout(cluster).abort("wait for Monday's traffic")
    world.policy = policy
    outcome = roll_out(*arguments(world, second, run="run-2"))
    assert outcome is not None
    assert (outcome.verdict, world.stable) == ("promoted", second)


def test_rollout_model_whose_canary_a_person_promoted_is_a_success(world: World) -> None:
    second = world.versions[1]
    asked = arguments(world, second)
    world.servers.new_pod = Pod
    with pytest.raises(RolloutError):
        roll_out(*asked)
    with world.cluster() as cluster:
        world.rollout(cluster).promote("looks good")
    assert roll_out(*asked) == RolloutOutcome(
        verdict="promoted", version=second, reasons=[f"promoted by {ACCOUNT} (says: ann): looks good"]
    )


def test_rollout_model_killed_in_the_middle_of_its_canary_is_taken_up(world: World) -> None:
    first, second = world.versions[:2]
    asked = arguments(world, second)
    world.api.fates["taxi-serving-canary"] = "stall"
    code = (
        "import json, sys; from components.rollout_model.run import roll_out; "
        "from slipway.runs.record import RunContext; "
        "store, config, run = json.loads(sys.argv[1]); roll_out(store, config, RunContext.model_validate(run))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, json.dumps([*asked[:2], asked[2].model_dump()])], cwd=PROJECT
    ) as running:
        while world.deployment("taxi-serving-canary") is None:
            assert running.poll() is None
            time.sleep(0.02)
        running.kill()
    world.expire_lease()
    world.api.fates.clear()
    assert world.stable == first
    outcome = roll_out(*asked)
    assert outcome is not None
    assert outcome.verdict == "promoted"
    assert world.stable == second
    actions = [event.action for event in world.store.history("taxi") if event.version == second]
    assert actions == ["push", "canary", "promote"]


def test_rollout_model_waits_for_a_first_start_that_is_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a node is cut off: its pod counts as lost, and works on."""
    monkeypatch.setattr("serving.rollout.engine.Rollout", partial(Rollout, lease_seconds=3, pause=short_pause))
    second = world.versions[1]
    asked = arguments(world, second)
    world.api.fates["taxi-serving-canary"] = "stall"
    ended: list[RolloutOutcome | None] = []
    starts = [threading.Thread(target=lambda: ended.append(roll_out(*asked))) for _ in range(2)]
    starts[0].start()
    while world.deployment("taxi-serving-canary") is None:
        time.sleep(0.02)
    starts[1].start()
    time.sleep(3.5)  # the first renews its lease meanwhile, which a stranger takes for a refusal
    assert all(start.is_alive() for start in starts)
    world.api.fates.clear()
    for start in starts:
        start.join(60)
    assert len(ended) == 2
    assert ended[0] == ended[1] == recorded(asked)
    assert recorded(asked).verdict == "promoted"
    assert [event.action for event in world.store.history("taxi") if event.version == second] == [
        "push", "canary", "promote",
    ]  # fmt: skip
    lease = world.api.objects.get("Lease", NAMESPACE, "taxi-rollout")
    assert lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("record", [pytest.param("kept", marks=pytest.mark.slow), "lost"])
def test_rollout_model_that_ends_a_dead_rollback_records_it(
    world: World, record: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = world.versions
    world.start(second)
    leave(world, version=second, phase="reverting", reasons=["complaints"])
    asked = arguments(world, third)
    if record == "lost":  # the step is killed after that, and started again
        monkeypatch.setattr(Rollout, "_begin", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            roll_out(*asked)
        monkeypatch.undo()
    outcome = roll_out(*asked)
    assert outcome == recorded(asked)
    assert outcome is not None
    assert outcome.ended == [f"back at version {first}, from version {second}: complaints"]
    assert (outcome.verdict, world.stable) == ("promoted", third)
