"""The image of a module that lists requirements: found by submit and compile, and built where it is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from delivery.environment import open_environment
from delivery.images import image_of
from delivery.package import read_package
from delivery.plan.fingerprints import layer_tag
from delivery.submission import prepared, write_package
from serving.manifests import Object
from settings.load import PROJECT
from slipway.errors import DeliveryError, ModuleError
from slipway.module_kit.requirements import LOCK, digest_lock
from tests.cli.commands import DATA, slipway
from tests.fakes.docker import write_docker
from tests.fakes.image_registry import FakeRegistry
from tests.fakes.kubeflow import FakeKubeflow

LOCKED = (
    "# `slipway module lock` made this file. Requirements: numpy>=1\n"
    f"numpy=={version('numpy')} \\\n    --hash=sha256:{'0' * 64}\n"
)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    """Has the image."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with FakeRegistry() as registry:
        registry.push("image")
        yield registry


@pytest.fixture
def image(registry: FakeRegistry, kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The image that the settings name; of the modules, taxi lists requirements, and digits does not."""
    modules = tmp_path / "modules"
    for name in ("taxi", "digits"):
        shutil.copytree(PROJECT / "modules" / name, modules / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (modules / "taxi" / "module.yaml").open("a") as config:
        config.write("\nrequirements: [numpy>=1]\n")
    (modules / "taxi" / LOCK).write_text(LOCKED)
    named = f"{registry.repository}@{registry.tags['image']}"
    monkeypatch.setenv("SLIPWAY_IMAGE", named)
    monkeypatch.setenv("SLIPWAY_MODULES", str(modules))
    return named


def layer_on(image: str) -> str:
    return layer_tag(image, digest_lock(LOCKED.encode()))


def images(path: Path) -> set[str]:
    executors = read_package(path).spec["deploymentSpec"]["executors"].values()
    return {executor["container"]["image"] for executor in executors if "container" in executor}


def test_module_without_a_lock_has_the_image_and_nobody_is_asked(tmp_path: Path) -> None:
    image = f"nowhere.invalid/team/slipway@sha256:{'1' * 64}"
    assert image_of(tmp_path, image) == image


def test_layer_is_beside_the_image_whatever_tag_it_has(image: str, registry: FakeRegistry, tmp_path: Path) -> None:
    layer = registry.push(layer_on(image))
    for named in (image, image.replace("@", ":latest@")):
        assert image_of(tmp_path / "modules" / "taxi", named) == layer


@pytest.mark.parametrize("pipeline", ["training", pytest.param("monitoring", marks=pytest.mark.slow)])
def test_compile_gives_each_executor_the_layer_of_the_module(
    image: str, registry: FakeRegistry, tmp_path: Path, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    layer, path = registry.push(layer_on(image)), tmp_path / "compiled.yaml"
    write_package(open_environment(), "kubeflow", "taxi", DATA, pipeline, path)
    assert images(path) == {layer}
    assert read_package(path).run.lineage.image == layer
    write_package(open_environment(), "kubeflow", "digits", DATA, pipeline, path)
    assert images(path) == {image}


def test_run_has_the_layer_and_the_overlay_the_image(
    image: str, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, rendered = registry.push(layer_on(image)), []

    def render_overlay(folder: Path, image: str) -> list[Object]:
        rendered.append(image)
        return []

    monkeypatch.setattr("delivery.manifests.render_overlay", render_overlay)
    monkeypatch.setenv("SLIPWAY_SERVING__OVERLAY", "staging")
    with prepared(open_environment(), "kubeflow", "taxi") as submission:
        assert submission.lineage.image == layer
    assert rendered == [image]


@pytest.mark.usefixtures("image")
def test_submit_without_the_layer_starts_nothing_and_names_what_builds_it(kubeflow: FakeKubeflow) -> None:
    with pytest.raises(DeliveryError, match=r"taxi/requirements\.lock .*slipway module image taxi"):
        slipway("submit", "taxi", "--target", "kubeflow")
    assert kubeflow.runs == {}


def test_local_run_without_what_is_locked_ends_before_anything_is_written(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "local"))
    lock = tmp_path / "modules" / "taxi" / LOCK
    lock.write_text(f"{LOCKED}absent-package==1.5 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(
        ModuleError, match=r"absent-package==1\.5; install .*--require-hashes -r .*taxi/requirements\.lock"
    ):
        slipway("run", "taxi")
    assert not (tmp_path / "local").exists()


def test_module_image_builds_the_layer_once_and_submit_finds_it(
    image: str, registry: FakeRegistry, kubeflow: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "docker.log"
    write_docker(tmp_path / "bin", log)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for _ in range(2):
        result = slipway("module", "image", "taxi")
        assert result.stdout == f"{registry.repository}@{registry.tags[layer_on(image)]}\n"
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["build", "push"]
    assert slipway("module", "image", "digits").stdout == f"{image}\n"
    gpu_image = f"{registry.repository}@{registry.push('gpu-image').rpartition('@')[2]}"
    with monkeypatch.context() as accelerated:
        accelerated.setenv("SLIPWAY_GPU_IMAGE", gpu_image)
        accelerated.setenv("SLIPWAY_COMPUTE__TRAIN_MODEL__ACCELERATOR", "{kubeflow: nvidia.com/gpu}")
        found = slipway("module", "image", "taxi").stdout.splitlines()
        layers = [registry.tags[layer_on(image)], registry.tags[layer_on(gpu_image)]]
        assert found == [f"{registry.repository}@{layer}" for layer in layers]
        assert slipway("module", "image", "digits").stdout.splitlines() == [image, gpu_image]
        write_package(open_environment(), "kubeflow", "taxi", None, "training", tmp_path / "compiled.yaml")
        assert images(tmp_path / "compiled.yaml") == set(found)
    assert slipway("submit", "taxi", "--target", "kubeflow").exit_code == 0
    [version] = kubeflow.versions.values()
    steps = version["pipeline_spec"]["deploymentSpec"]["executors"].values()
    assert {step["container"]["image"] for step in steps} == {f"{registry.repository}@{registry.tags[layer_on(image)]}"}
