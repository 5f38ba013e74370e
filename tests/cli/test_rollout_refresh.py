from pathlib import Path

import pytest
import yaml

from tests.cli.commands import rollout as slipway
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import World


def change_overlay(folder: Path, kind: str, path: str, value: str) -> None:
    """Adds a patch to the overlay that the settings name."""
    file = folder / "overlay" / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text())
    patch = [{"op": "add", "path": path, "value": value}]
    kustomization["patches"].append({"target": {"kind": kind}, "patch": yaml.safe_dump(patch)})
    file.write_text(yaml.safe_dump(kustomization))


def test_rollout_refresh_applies_what_stands_beside_the_pods(world: World, tmp_path: Path) -> None:
    first = world.versions[0]
    slipway("start", str(first))
    change_overlay(tmp_path, "ServiceAccount", "/metadata/annotations/example.com~1owner", "team-a")
    assert slipway("refresh").exit_code == 0
    [account] = world.api.objects.list("ServiceAccount")
    assert account["metadata"]["annotations"]["example.com/owner"] == "team-a"
    assert world.stable == first


@pytest.mark.parametrize(("traffic", "code"), [(True, 0), pytest.param(False, 3, marks=pytest.mark.slow)])
def test_rollout_refresh_changes_pods_by_way_of_a_canary(
    world: World, tmp_path: Path, traffic: bool, code: int
) -> None:
    first = world.versions[0]
    slipway("start", str(first))
    if not traffic:
        world.servers.new_pod = Pod
    change_overlay(tmp_path, "Deployment", "/spec/template/metadata/labels/example.com~1team", "a")
    told = slipway("refresh")
    assert told.exit_code == code
    assert f"canary: version {first}" in told.stdout
    assert world.stable == first
    stable = world.deployment("taxi-serving")
    assert stable
    assert ("example.com/team" in stable["spec"]["template"]["metadata"]["labels"]) == traffic


def test_rollout_refresh_where_nothing_serves_does_nothing(world: World) -> None:
    assert slipway("refresh").stdout == ""
    assert world.stable is None
