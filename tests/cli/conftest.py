"""Fixtures of the commands that roll out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.fakes.kubernetes.world import DIGEST, PROJECT, World, open_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home with three versions, and an overlay of staging that is filled in."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    account = {"op": "replace", "path": "/metadata/annotations/iam.gke.io~1gcp-service-account", "value": "a@p.iam"}
    kustomization = {
        "resources": [os.path.relpath(PROJECT / "manifests" / "overlays" / "staging", overlay)],
        "images": [{"name": "tensorflow/serving", "digest": DIGEST}],
        "patches": [{"target": {"kind": "ServiceAccount"}, "patch": yaml.safe_dump([account])}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", str(overlay))
    for name, value in (("WINDOW_SECONDS", 0), ("TRAFFIC_SECONDS", 0), ("READY_SECONDS", 20), ("MIN_REQUESTS", 50)):
        monkeypatch.setenv(f"SLIPWAY_SERVING__{name}", str(value))
    monkeypatch.setenv("SLIPWAY_SERVING__MODELS_PATH", "gs://bucket/models")
    with open_world(tmp_path) as opened:
        yield opened
