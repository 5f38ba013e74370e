"""Fixtures of what a rollout begins with, for the conftest of folders that want them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.world import World, all_served, first_served, open_world, second_held, two_served


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Nothing serves."""
    with open_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    """Version one is in production."""
    with open_world(tmp_path, after=first_served) as opened:
        yield opened


@pytest.fixture
def twice(tmp_path: Path) -> Iterator[World]:
    """Version two is in production, after version one."""
    with open_world(tmp_path, after=two_served) as opened:
        yield opened


@pytest.fixture
def thrice(tmp_path: Path) -> Iterator[World]:
    """Version three is in production, after one and two."""
    with open_world(tmp_path, after=all_served) as opened:
        yield opened


@pytest.fixture
def held(tmp_path: Path) -> Iterator[World]:
    """Version two's canary waits for a decision."""
    with open_world(tmp_path, after=second_held) as opened:
        opened.servers.new_pod = lambda: Pod()
        yield opened
