"""A compiled pipeline: its steps, and arguments that no step could be started with."""

from dataclasses import replace
from pathlib import Path

import pytest

from delivery.package import all_steps, edges, problems, read_package
from slipway.errors import ConfigError, TargetError
from slipway.runs.record import Step
from tests.compiled.specs import GOLDEN, golden_spec
from tests.delivery.targets.submissions import submission


def test_all_steps_are_those_of_the_pipeline_under_either_name() -> None:
    package = read_package(GOLDEN)
    told = [Step(name="Train the model", state="running"), Step(name="resolve_source", state="succeeded"),
            Step(name="exit_handler_1", state="running")]  # fmt: skip
    steps = {step.name: step.state for step in all_steps(package, told, ended=False)}
    assert [*steps] == [*edges(package.spec)]
    assert {step.state for step in all_steps(package, [], ended=True)} == {"skipped"}
    assert (steps["train_model"], steps["resolve_source"], steps["push_model"]) == ("running", "succeeded", "pending")


@pytest.mark.parametrize("content", ["", "- a", "pipelineInfo: {nam: x}", "{", b"\xff\xfe"])
def test_read_package_of_another_file_says_what_writes_one(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "training.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        ConfigError,
        match=r"training\.yaml is not a compiled pipeline .*`slipway compile MODULE --target TARGET --output \S+`",
    ):
        read_package(path)


def test_problems_argument_longer_than_linux_takes_is_named_with_its_bytes() -> None:
    spec = golden_spec("kubeflow")
    assert problems(spec, {"data_uri": "y" * 100_000}) == []
    problem = problems(spec, {"data_uri": "y" * 125_000})[-1]
    assert problem.startswith("rollout_model: ")
    assert "131,071" in problem
    assert "data_uri with 125," in problem


def test_problems_task_without_the_image_or_with_too_much_code_is_named() -> None:
    spec = golden_spec("kubeflow")
    executors = spec["deploymentSpec"]["executors"]
    executors["exec-train-model"]["container"]["command"].append("#" * 131_072)
    executors["exec-push-model"]["container"]["image"] = "slipway-python"
    image, code = problems(spec, {})
    assert image.startswith("push_model: the image 'slipway-python' is not named by digest; add the task with `Steps")
    assert code.startswith("train_model: its function has 131,072 bytes")


def test_submission_with_too_long_arguments_is_refused_before_anything_is_sent() -> None:
    wanted = submission("kubeflow")
    arguments = wanted.arguments | {"hyperparameters": "é" * 70_000}
    with pytest.raises(TargetError, match=r"train_model: .*131,071.*hyperparameters"):
        replace(wanted, arguments=arguments)
