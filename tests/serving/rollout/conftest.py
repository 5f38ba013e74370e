from collections.abc import Iterator
from pathlib import Path

import pytest

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
