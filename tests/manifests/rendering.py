"""Overlays and combinations of components, rendered once each."""

from __future__ import annotations

import os
import shutil
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import pytest

from delivery.manifests import render_overlay
from serving.manifests import Object

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted((MANIFESTS / "overlays").iterdir())
COMBINATIONS = sorted((Path(__file__).parent / "combinations").iterdir())
ACCESS = [MANIFESTS / "rollout-access" / overlay.name for overlay in OVERLAYS]
MONITORS = [MANIFESTS / "monitor-account" / overlay.name for overlay in OVERLAYS]
ACCOUNTS = [MANIFESTS / "pipeline-account" / overlay.name for overlay in OVERLAYS]


def rendered(folder: Path) -> list[Object]:
    """The objects of a kustomization, as copies; skips the test where no program can render it, but never in CI."""
    if not (shutil.which("kustomize") or shutil.which("kubectl")):
        reason = "neither kustomize nor kubectl is on the PATH: the manifests are not rendered"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return deepcopy(_rendered(folder))


@lru_cache
def _rendered(folder: Path) -> list[Object]:
    return render_overlay(folder)
