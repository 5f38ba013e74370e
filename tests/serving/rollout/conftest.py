from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.errors import RolloutInconclusiveError
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def served(world: World) -> World:
    """Version one is in production."""
    world.start(world.versions[0])
    for pod in world.api.objects.list("Pod"):
        world.servers.pod(pod["metadata"]["name"])  # what a test makes of new pods is the canary's
    world.said.clear()
    return world


@pytest.fixture
def held(world: World) -> World:
    """Version two's canary waits for a decision."""
    world.start(world.versions[0])
    world.servers.new_pod = lambda: Pod()
    with pytest.raises(RolloutInconclusiveError):
        world.start(world.versions[1])
    return world
