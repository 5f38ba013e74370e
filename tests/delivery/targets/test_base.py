from pathlib import Path

import pytest

from delivery.graph import edges
from delivery.package import all_steps, read_package
from delivery.targets.base import label_value, send
from slipway.errors import ConfigError
from slipway.runs.record import Step
from tests.compiled.specs import GOLDEN


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("taxi_v2", "taxi_v2"),
        ("c0ffee-dirty", "c0ffee-dirty"),
        ("Grüße/Ümlaut", "gr--e--mlaut"),
        ("-edge-", "edge"),
        ("x" * 80, "x" * 63),
    ],
)
def test_label_value_is_one_everywhere(text: str, value: str) -> None:
    assert label_value(text) == value


def test_send_ends_after_its_attempts(pauses: list[float]) -> None:
    asked: list[int] = []

    def fail() -> None:
        asked.append(1)
        raise OSError("again")

    with pytest.raises(OSError, match="again"):
        send(fail, lambda error: True, lambda: None)
    assert len(asked) == 4
    assert pauses == [1.0, 2.0, 4.0]


def test_send_what_was_done_after_all_is_not_done_again() -> None:
    asked: list[int] = []

    def fail() -> None:
        asked.append(1)
        raise OSError("lost")

    assert send(fail, lambda error: True, lambda: "made") == "made"
    assert len(asked) == 1


def test_all_steps_are_those_of_the_pipeline_under_either_name() -> None:
    package = read_package(GOLDEN)
    told = [Step(name="Train the model", state="running"), Step(name="resolve_source", state="succeeded"),
            Step(name="exit_handler_1", state="running")]  # fmt: skip
    steps = {step.name: step.state for step in all_steps(package, told)}
    assert [*steps] == [*edges(package.spec)]
    assert (steps["train_model"], steps["resolve_source"], steps["push_model"]) == ("running", "succeeded", "pending")


@pytest.mark.parametrize("content", ["", "- a", "pipelineInfo: {nam: x}", "{", b"\xff\xfe"])
def test_read_package_of_another_file_says_what_writes_one(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "training.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r"training\.yaml is not a compiled pipeline .*`slipway compile` writes one"):
        read_package(path)
