"""What a step that fails leaves behind; tests/components/test_record_run.py shows what the exit handler makes of it."""

import json
import os
import sys
from pathlib import Path

import pytest

from components import executor
from slipway import limits
from slipway.runs import failures
from slipway.runs.failures import read_failures

STEP = """
def fail() -> None:
    raise ValueError("row 7 is bad")
"""


@pytest.mark.parametrize("is_a_pod", [True, False])
def test_failing_step_tells_kubernetes_why_and_leaves_its_reason_beside_its_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_a_pod: bool
) -> None:
    log = tmp_path / "termination-log"
    if is_a_pod:
        log.touch()
    (tmp_path / "step.py").write_text(STEP)
    executor_input = json.dumps({"inputs": {}, "outputs": {"outputFile": str(tmp_path / "outputs" / "output.json")}})
    given = ["--component_module_path", str(tmp_path / "step.py"), "--function_to_execute", "fail"]
    monkeypatch.setattr(failures, "TERMINATION_LOG", log)
    monkeypatch.setattr(sys, "argv", ["executor", *given, "--executor_input", executor_input])
    with pytest.raises(ValueError, match="row 7"):
        executor.main()
    assert not is_a_pod or log.read_text() == "ValueError: row 7 is bad"
    assert log.exists() == is_a_pod
    [failure] = read_failures(str(tmp_path))
    assert (failure.name, failure.error) == ("fail", "ValueError: row 7 is bad")


@pytest.mark.parametrize(("kind", "stays"), [("workerpool0", False), ("workerpool1", True)])
def test_replica_of_a_custom_job_that_is_not_the_chief_takes_no_reason_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stays: bool
) -> None:
    (tmp_path / "step.py").write_text("def work() -> None: ...\n")
    executor_input = json.dumps({"inputs": {}, "outputs": {"outputFile": str(tmp_path / "task" / "output.json")}})
    failures.write_failure(str(tmp_path / "task"), "work", ValueError("the chief's"))
    given = ["--component_module_path", str(tmp_path / "step.py"), "--function_to_execute", "work"]
    monkeypatch.setenv("CLUSTER_SPEC", json.dumps({"task": {"type": kind, "index": 0}}))
    monkeypatch.setattr(sys, "argv", ["executor", *given, "--executor_input", executor_input])
    executor.main()
    assert bool(read_failures(str(tmp_path))) == stays
    assert (tmp_path / "task" / "output.json").exists() != stays, "kfp writes the outputs of the chief alone"


def test_step_has_the_threads_of_its_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "import os\n\ndef train_model() -> str:\n    return os.environ['TF_NUM_INTRAOP_THREADS']\n"
    (tmp_path / "step.py").write_text(step)
    output = tmp_path / "task" / "output.json"
    executor_input = json.dumps({"inputs": {}, "outputs": {"outputFile": str(output), "parameters": {}}})
    given = ["--component_module_path", str(tmp_path / "step.py"), "--function_to_execute", "train_model"]
    monkeypatch.setattr(limits, "processors", lambda: 7)
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "argv", ["executor", *given, "--executor_input", executor_input])
    executor.main()
    assert json.loads(output.read_text())["parameterValues"] == {"Output": "7"}
