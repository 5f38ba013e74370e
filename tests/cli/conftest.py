"""Fixtures of the commands that roll out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from serving.rollout.engine import Rollout
from tests.fakes.kubernetes.world import World, open_world, write_overlay


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home with three versions, and an overlay of staging that is filled in."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", "")  # a fork's settings may name one
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(write_overlay(tmp_path / "overlay")))
    for name, value in (("WINDOW_SECONDS", 0), ("TRAFFIC_SECONDS", 0), ("READY_SECONDS", 20), ("MIN_REQUESTS", 50)):
        monkeypatch.setenv(f"SLIPWAY_SERVING__{name}", str(value))
    monkeypatch.setenv("SLIPWAY_SERVING__MODELS_PATH", "gs://bucket/models")
    impatient = partial(Rollout, pause=lambda seconds: time.sleep(min(seconds, 0.02)))
    monkeypatch.setattr("delivery.rollout.Rollout", impatient)
    with open_world(tmp_path) as opened:
        yield opened
