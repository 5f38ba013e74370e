"""Small pipelines, each with one thing that one platform cannot run."""

from pathlib import Path

import pytest
import yaml
from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import component
from delivery.compile import write_spec
from delivery.portability import Platform, problems
from slipway.errors import ConfigError

IMAGE = "europe-docker.pkg.dev/project/slipway/slipway@sha256:" + "0" * 64


@component
def work() -> None:
    """Does nothing."""


def pipeline(image: str = IMAGE, accelerator: str | None = None) -> BaseComponent:
    @dsl.pipeline(name="small")
    def small() -> None:
        task = work()
        task.set_container_image(image)
        if accelerator:
            task.set_accelerator_type(accelerator).set_accelerator_limit(1)

    return small


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_write_spec_portable_pipeline_compiles(target: Platform, tmp_path: Path) -> None:
    write_spec(target, pipeline(), tmp_path / "small.yaml")
    assert yaml.safe_load((tmp_path / "small.yaml").read_text())["pipelineInfo"]["name"] == "small"


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
@pytest.mark.parametrize("image", ["slipway:latest", "slipway", "slipway@sha256:abc"])
def test_write_spec_image_by_tag_is_refused_with_the_task(target: Platform, image: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"work: the image '{image}' is not named by digest"):
        write_spec(target, pipeline(image), tmp_path / "small.yaml")
    assert not (tmp_path / "small.yaml").exists()


@pytest.mark.parametrize(
    ("target", "accelerator", "fits"),
    [
        ("vertex", "NVIDIA_TESLA_T4", True),
        ("vertex", "nvidia.com/gpu", False),
        ("kubeflow", "nvidia.com/gpu", True),
        ("kubeflow", "NVIDIA_TESLA_T4", False),
    ],
)
def test_write_spec_accelerator_must_be_the_platforms(
    target: Platform, accelerator: str, fits: bool, tmp_path: Path
) -> None:
    output = tmp_path / "small.yaml"
    if fits:
        write_spec(target, pipeline(accelerator=accelerator), output)
        assert output.exists()
    else:
        with pytest.raises(ConfigError, match=f"{target} cannot run.*\n  work: the accelerator '{accelerator}'"):
            write_spec(target, pipeline(accelerator=accelerator), output)


def test_problems_kubernetes_settings_are_refused_on_vertex_only() -> None:
    spec = {"root": {"dag": {"tasks": {}}}, "components": {}, "deploymentSpec": {"executors": {}}}
    platform_spec: dict[str, object] = {
        "platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train-model": {"secretAsEnv": [{}]}}}}}
    }
    assert problems("kubeflow", spec, platform_spec) == []
    assert problems("vertex", spec, platform_spec) == [
        "train_model: secretAsEnv of kfp-kubernetes; Vertex reads one document only and refuses"
    ]


def test_write_spec_workspace_of_kubeflow_is_refused_on_vertex(tmp_path: Path) -> None:
    @dsl.pipeline(
        name="small",
        pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")),
    )
    def small() -> None:
        work().set_container_image(IMAGE)

    with pytest.raises(ConfigError, match="Vertex knows no PipelineConfig"):
        write_spec("vertex", small, tmp_path / "small.yaml")


def test_problems_executors_of_one_platform_are_named_with_their_task() -> None:
    def spec(executor: str) -> dict[str, object]:
        return {
            "root": {"dag": {"tasks": {"tune-model": {"componentRef": {"name": "comp"}}}}},
            "components": {"comp": {"executorLabel": "exec"}},
            "deploymentSpec": {"executors": {"exec": {executor: {}}}},
        }

    assert problems("vertex", spec("customJob"), {}) == []
    assert "tune_model: a custom job of Vertex" in problems("kubeflow", spec("customJob"), {})[0]
    assert "tune_model: a resolver" in problems("kubeflow", spec("resolver"), {})[0]


def test_write_spec_unknown_file_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.yaml or \.json"):
        write_spec("kubeflow", pipeline(), tmp_path / "small.txt")
