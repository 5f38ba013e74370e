import json
import os
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from slipway.errors import ConfigError, RolledBackError, RolloutError, StoreError
from slipway.evaluation.golden import Golden, write_golden
from tests.cli.commands import rollout as slipway
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import PROJECT, World
from tests.model_files import provenance, write_model


def test_rollout_start_tells_each_step_and_status_what_came_of_it(world: World) -> None:
    first = world.versions[0]
    told = slipway("start", str(first)).stdout
    for text in (f"canary: version {first} on 1 pods", "golden requests: 2 rows", f"version {first} of taxi is stable"):
        assert text in told
    shown = slipway("status").stdout
    assert re.search(f"taxi +stable +{first} +1 of 1", shown)
    assert re.search("taxi +canary +none", shown)
    assert "golden requests" in shown
    status = json.loads(slipway("status", "taxi", "--json").stdout)
    assert (status["production"], status["rollout"]["phase"]) == (first, "promoted")


def test_rollout_start_takes_the_newest_version(world: World) -> None:
    slipway("start")
    assert world.stable == world.versions[-1]


def test_rollout_start_with_too_little_traffic_exits_with_3_until_someone_decides(world: World) -> None:
    first, second = world.versions[:2]
    slipway("start", str(first))
    world.servers.new_pod = Pod
    held = slipway("start", str(second))
    assert held.exit_code == 3
    assert "held: version" in held.stderr
    assert "is held since" not in slipway("promote", "--why", "tried by hand").stdout
    assert world.stable == second
    slipway("rollback", "--why", "tried by hand, and wrong")
    assert world.stable == first
    assert world.store.stage("taxi", second) == "quarantined"


def test_rollout_abort_without_a_rollout_is_an_error(world: World) -> None:
    with pytest.raises(RolloutError, match="no rollout of taxi"):
        slipway("abort")


def test_rollout_of_an_unknown_version_or_model_names_what_there_is(world: World) -> None:
    with pytest.raises(StoreError, match="has no version 7"):
        slipway("start", "7")
    with pytest.raises(StoreError, match=r"no model 'shapes' .*models: taxi"):
        slipway("start", "--model", "shapes")


def test_rollout_where_nothing_is_served_says_what_to_set(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "''")
    with pytest.raises(ConfigError, match=r"set serving.overlay in settings/<environment>.yaml"):
        slipway("status")


def test_rollout_with_an_overlay_that_is_not_filled_in_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kustomization = tmp_path / "new" / "kustomization.yaml"
    kustomization.parent.mkdir()
    base = os.path.relpath(PROJECT / "manifests" / "base", kustomization.parent)
    kustomization.write_text(f"namespace: slipway-staging\nresources: [{base}]\n")
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(kustomization.parent))
    with pytest.raises(ConfigError, match="not filled in"):
        slipway("start")
    assert world.api.objects.writes == []


def test_rollout_without_a_cluster_says_how_to_name_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_SERVING__CLUSTER", "nowhere")
    with pytest.raises(ConfigError, match=r"nowhere.*serving\.cluster"):
        slipway("status")


def test_rollout_that_is_rolled_back_and_a_rollback_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS__STDOUT", "true")
    first, second, third = world.versions[:3]
    for version in (first, second):
        slipway("start", str(version))
    world.servers.new_pod = lambda: Pod(predictions=[0.0, 0.0])
    failed = CliRunner().invoke(app, ["rollout", "start", str(third), "--env", "staging"])
    assert isinstance(failed.exception, RolledBackError)
    assert (
        f"[slipway] taxi: version {third} was rolled back\n- version {third} of taxi was rolled back" in failed.stdout
    )
    assert "differently than training did" in failed.stdout
    world.servers.new_pod = Pod
    told = slipway("rollback", "--why", "p99 doubled").stdout
    assert f"[slipway] taxi: back at version {first}, from version {second}" in told
    assert "p99 doubled" in told


def test_rollout_where_the_store_has_several_models_wants_a_name_and_status_shows_all(
    world: World, tmp_path: Path
) -> None:
    second_model = write_model(tmp_path / "other", 7)
    write_golden(Golden.of([b"one"], [0.25]), second_model)
    world.store.push(second_model, provenance("shapes"))
    slipway("start", f"taxi/{world.versions[0]}")
    for command in ("start", "promote", "abort", "rollback"):
        with pytest.raises(StoreError, match="name the model; models: shapes, taxi"):
            slipway(command)
    shown = slipway("status").stdout
    assert re.search("shapes +stable +none", shown)
    assert re.search(f"taxi +stable +{world.versions[0]}", shown)
    (tmp_path / "models" / "shapes" / ".state.json").write_text("{")
    failed = slipway("status", "--json")
    shapes, taxi = json.loads(failed.stdout)
    assert (failed.exit_code, shapes["model"], taxi["rollout"]["phase"]) == (1, "shapes", "promoted")
    assert ".state.json" in shapes["error"]


def test_rollout_of_the_only_model_needs_no_name_whatever_it_is(world: World) -> None:
    slipway("start")
    assert world.stable == world.versions[-1]
    shutil.rmtree(Path(world.store.uri) / "taxi")
    with pytest.raises(StoreError, match="name the model; models: none"):
        slipway("abort")


def test_rollback_status_and_decisions_need_neither_kustomize_nor_a_filled_in_overlay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.versions[:2]
    for version in (first, second):
        slipway("start", str(version))
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "staging")  # as it comes, with placeholders
    monkeypatch.setenv("PATH", "/nowhere")
    slipway("rollback", "--why", "complaints")
    assert world.stable == first
    assert f"rolled-back, after version {second} was left" in slipway("status").stdout
    with pytest.raises(RolloutError, match="no rollout of taxi is running"):
        slipway("promote")
