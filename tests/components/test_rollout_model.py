from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.confirm_rollout.component import confirm_rollout
from components.rollout_model.run import describe, roll_out
from serving.manifests import publish_manifests
from slipway.errors import ConfigError, RolloutError, RolloutInconclusiveError, StoreError
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RolloutOutcome, RunContext
from slipway.runs.store import OUTCOME, ROLLOUT
from slipway.stores import storage
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.server import ACCOUNT
from tests.fakes.kubernetes.world import World, open_world
from tests.steps import FIELDS

LINEAGE = Lineage(run="run-1", module="taxi", module_digest="m", data_uri="trips.csv")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


def step(world: World, home: Path, version: int | None, manifests: str | None = None) -> RolloutOutcome | None:
    outcome = Outcome(verdict="pushed" if version else "refused", reasons=[], version=version)
    storage.write_text(str(home / "run" / OUTCOME), outcome.model_dump_json())
    uri = publish_manifests(world.objects, str(home)) if manifests is None else manifests
    policy: dict[str, Any] = world.policy.model_dump(mode="json")
    # kfp makes floating-point numbers of all that stand in a dictionary.
    policy |= {key: float(value) for key, value in policy.items() if isinstance(value, int)}
    run = RunContext(uri=str(home / "run"), lineage=LINEAGE)
    return roll_out(
        world.store.uri, {"manifests_uri": uri, "cluster": "", "policy": policy, "environment": "staging"}, run
    )


def recorded(home: Path) -> RolloutOutcome:
    return RolloutOutcome.model_validate_json((home / "run" / ROLLOUT).read_bytes())


def test_rollout_pushed_version_is_in_production_and_recorded(world: World, tmp_path: Path) -> None:
    first = world.versions[0]
    assert step(world, tmp_path, first) == recorded(tmp_path)
    assert (recorded(tmp_path).verdict, recorded(tmp_path).version) == ("promoted", first)
    assert world.stable == first
    last = world.store.history("taxi")[-1]
    assert (last.who, last.says) == (ACCOUNT, "run run-1")


def test_rollout_without_a_cluster_says_so_and_writes_nothing(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert step(world, tmp_path, world.versions[0], manifests="") is None
    assert "nothing is rolled out; `slipway rollout start" in capsys.readouterr().out
    assert not (tmp_path / "run" / ROLLOUT).exists()


@pytest.mark.parametrize("keys", [{}, {"cluster": "", "policy": {}, "overlay": "gke"}], ids=["too few", "too many"])
def test_rollout_of_other_keys_names_those_that_it_wants(tmp_path: Path, keys: dict[str, Any]) -> None:
    storage.write_text(str(tmp_path / OUTCOME), Outcome(verdict="pushed", reasons=[], version=1).model_dump_json())
    run = RunContext(uri=str(tmp_path), lineage=LINEAGE)
    with pytest.raises(ConfigError, match="manifests_uri, cluster, policy, environment"):
        roll_out(str(tmp_path / "store"), {"manifests_uri": "gs://bucket/overlay", **keys}, run)
    assert RolloutOutcome.model_validate_json((tmp_path / ROLLOUT).read_bytes()).verdict == "failed"


def test_rollout_of_a_model_that_was_not_pushed_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert step(world, tmp_path, None) is None
    assert "Nothing was pushed" in capsys.readouterr().out
    assert world.api.requests == []


def test_rollout_of_a_version_that_its_canary_refuses_is_an_outcome_with_its_reason(
    world: World, tmp_path: Path
) -> None:
    world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])
    outcome = step(world, tmp_path, world.versions[0])
    assert outcome == recorded(tmp_path)
    assert outcome.verdict == "rolled-back"
    assert "differently than training did" in outcome.reasons[0]
    assert f"Version {world.versions[0]} was rolled back" in describe(outcome)
    assert outcome.reasons[0] in describe(outcome)


def test_confirm_rollout_of_a_version_that_was_rolled_back_stops_the_run_with_the_reason(tmp_path: Path) -> None:
    run = RunContext(uri=str(tmp_path), lineage=LINEAGE).model_dump_json()
    with pytest.raises(RolloutError, match="p99 doubled"):
        confirm_rollout.python_func("p99 doubled", run, "1", "", **FIELDS)
    confirm_rollout.python_func("", run, "1", "", **FIELDS)


def test_rollout_with_too_little_traffic_is_no_success(world: World, tmp_path: Path) -> None:
    step(world, tmp_path, world.versions[0])
    world.servers.new_pod = Pod
    with pytest.raises(RolloutInconclusiveError, match="`slipway rollout promote taxi --env staging`"):
        step(world, tmp_path, world.versions[1])
    assert recorded(tmp_path).verdict == "held"
    assert "`slipway rollout abort taxi --env staging`" in recorded(tmp_path).reasons[0]


def test_rollout_of_changed_manifests_is_refused(world: World, tmp_path: Path) -> None:
    uri = publish_manifests(world.objects, str(tmp_path))
    storage.write_text(uri, Path(uri).read_text() + "---\n")
    with pytest.raises(StoreError, match="publish the overlay again"):
        step(world, tmp_path, world.versions[0], uri)


def test_rollout_of_an_older_version_than_the_stable_one_is_refused(world: World, tmp_path: Path) -> None:
    first, second = world.versions[:2]
    step(world, tmp_path, second)
    with pytest.raises(RolloutError, match=f"version {second}, which is newer, is stable.*rollout start taxi/{first}"):
        step(world, tmp_path, first)
    assert world.stable == second
    assert recorded(tmp_path).verdict == "failed"


def test_rollout_step_that_is_tried_again_says_the_same(world: World, tmp_path: Path) -> None:
    first = world.versions[0]
    step(world, tmp_path, first)
    again = step(world, tmp_path, first)
    assert again is not None
    assert (again.verdict, again.version) == ("promoted", first)
