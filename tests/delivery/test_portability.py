"""What no platform can run is refused when it is compiled or submitted."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import component
from delivery.compile import write_spec
from delivery.portability import problems
from slipway.errors import ConfigError, TargetError
from slipway.targets import RemoteTarget
from tests.compiled.specs import IMAGE, golden_spec
from tests.delivery.targets.submissions import submission


@component()
def work() -> None:
    """Does nothing."""


def pipeline(image: str = IMAGE) -> BaseComponent:
    @dsl.pipeline(name="small")
    def small() -> None:
        work().set_container_image(image)

    return small


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_write_spec_portable_pipeline_compiles(target: RemoteTarget, tmp_path: Path) -> None:
    write_spec(target, pipeline(), tmp_path / "small.yaml")
    assert yaml.safe_load((tmp_path / "small.yaml").read_text())["pipelineInfo"]["name"] == "small"


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
@pytest.mark.parametrize("image", ["slipway:latest", "slipway", "slipway@sha256:abc"])
def test_write_spec_image_by_tag_is_refused_with_the_task(target: RemoteTarget, image: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"work: the image '{image}' is not named by digest"):
        write_spec(target, pipeline(image), tmp_path / "small.yaml")
    assert not (tmp_path / "small.yaml").exists()


def test_problems_argument_longer_than_linux_takes_is_named_with_its_bytes() -> None:
    spec = golden_spec("kubeflow")
    assert problems(spec, {"ingestion": {"x": "y" * 100_000}}) == []
    [problem] = problems(spec, {"ingestion": {"x": "y" * 125_000}})
    assert problem.startswith("ingest_examples: ")
    assert "131,071" in problem
    assert "ingestion with 125," in problem


def test_problems_code_longer_than_linux_takes_is_named() -> None:
    spec = golden_spec("kubeflow")
    spec["deploymentSpec"]["executors"]["exec-train-model"]["container"]["command"].append("#" * 131_072)
    [problem] = problems(spec)
    assert problem.startswith("train_model: its code has 131,072 bytes")


def test_submission_with_too_long_arguments_is_refused_before_anything_is_sent() -> None:
    wanted = submission("kubeflow")
    arguments = wanted.arguments | {"evaluation_config": {"slices": ["é" * 70_000]}}
    with pytest.raises(TargetError, match=r"evaluate_model: .*131,071.*evaluation"):
        replace(wanted, arguments=arguments)


def test_write_spec_unknown_file_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.yaml or \.json"):
        write_spec("kubeflow", pipeline(), tmp_path / "small.txt")
