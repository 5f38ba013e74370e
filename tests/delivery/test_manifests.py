"""Overlays are rendered by the real program; a small script stands in for it where it is to fail or to be missing."""

from pathlib import Path

import pytest

from delivery.manifests import render_overlay
from serving.manifests import containers
from slipway.errors import ConfigError
from tests.manifests.rendering import COMBINATIONS, OVERLAYS, rendered

OWN = "europe-docker.pkg.dev/project/slipway/slipway@sha256:" + 64 * "a"


def install(folder: Path, program: str, script: str) -> None:
    (folder / program).write_text(f"#!/bin/sh\n{script}\n")
    (folder / program).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and nothing else on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_render_overlay_own_image_is_put_where_the_overlay_names_it() -> None:
    (production,) = (path for path in OVERLAYS if path.name == "production")
    rendered(production)  # skips where it cannot be rendered
    images = {each["name"]: each["image"] for each in containers(render_overlay(production, image=OWN))}
    assert images["request-logger"] == OWN
    assert images["tensorflow-serving"].startswith("tensorflow/serving@sha256:")


def test_render_overlay_own_image_fetches_models() -> None:
    (folder,) = (path for path in COMBINATIONS if path.name == "canary-fetch-model")
    rendered(folder)
    images = [each["image"] for each in containers(render_overlay(folder, image=OWN)) if each["name"] == "fetch-model"]
    assert images == [OWN, OWN]


def test_render_overlay_image_by_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match="'slipway:latest' is not named by digest"):
        render_overlay(OVERLAYS[0], image="slipway:latest")


def test_render_overlay_same_overlay_twice_is_the_same() -> None:
    assert rendered(OVERLAYS[0]) == render_overlay(OVERLAYS[0])


def test_render_overlay_without_a_program_says_what_to_install(programs: Path) -> None:
    with pytest.raises(ConfigError, match="kustomize nor kubectl"):
        render_overlay(OVERLAYS[0])


def test_render_overlay_both_programs_prefers_kustomize(programs: Path) -> None:
    install(programs, "kubectl", "echo 'kind: FromKubectl'")
    assert render_overlay(OVERLAYS[0]) == [{"kind": "FromKubectl"}]
    install(programs, "kustomize", 'echo "kind: $1"')
    assert render_overlay(OVERLAYS[0]) == [{"kind": "build"}]


def test_render_overlay_program_fails_passes_on_what_it_said(programs: Path) -> None:
    install(programs, "kustomize", "echo 'no such component' >&2; exit 1")
    with pytest.raises(ConfigError, match=r"kustomize build .* failed(.|\n)*no such component"):
        render_overlay(OVERLAYS[0])


def test_render_overlay_broken_overlay_is_an_error(tmp_path: Path) -> None:
    rendered(OVERLAYS[0])  # skips where nothing can be rendered
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        render_overlay(tmp_path)
