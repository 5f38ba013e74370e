"""Where platforms put the artifacts of steps; the rest is tested with the exit handler that reads it."""

import json
from pathlib import Path

import pytest

from slipway.errors import DataError
from slipway.runs.failures import folder_of_run, folder_of_step, forget_failure, read_failures, write_failure

KUBEFLOW = "gs://bucket/artifacts/slipway-training/90d63664-0f4f-41ec-91be-9419156db005"
VERTEX = "gs://bucket/artifacts/123456789/taxi-20260102-030405-a336"


@pytest.mark.parametrize(
    ("artifacts", "output_file", "folder"),
    [
        # The launcher adds its log to a step without artifacts.
        ({"executor-logs": f"{KUBEFLOW}/resolve-source/0b1c/executor-logs"}, "/tmp/kfp_outputs/output_metadata.json",
         f"{KUBEFLOW}/resolve-source/0b1c"),
        ({"model": f"{VERTEX}/train-model_-42/model"}, "/gcs/b/executor_output.json", f"{VERTEX}/train-model_-42"),
        ({}, "/gcs/bucket/artifacts/1/taxi-1/resolve-source_7/executor_output.json",
         "/gcs/bucket/artifacts/1/taxi-1/resolve-source_7"),
        ({"model": "gs://b/1/train-model/5a/model?scheme=http&x=a/b"}, "/x/y.json", "gs://b/1/train-model/5a?scheme=http&x=a/b"),
    ],
)  # fmt: skip
def test_folder_of_a_step_is_where_its_platform_puts_its_artifacts(
    artifacts: dict[str, str], output_file: str, folder: str
) -> None:
    outputs = {"artifacts": {name: {"artifacts": [{"uri": uri}]} for name, uri in artifacts.items()}}
    given = {"outputs": outputs | {"outputFile": output_file}}
    assert folder_of_step(json.dumps(given)) == folder


@pytest.mark.parametrize("run", [KUBEFLOW, VERTEX])
def test_folder_of_a_run_is_found_by_any_artifact_of_it(run: str) -> None:
    job = run.rpartition("/")[2]
    assert folder_of_run(f"{run}/record-run/5a17/run_page", job) == run
    assert folder_of_run(f"{run}/record-run/5a17/run_page?x=a/b", job) == f"{run}?x=a/b"
    assert folder_of_run("gs://bucket/elsewhere/run_page", job) == ""


def test_failures_of_all_steps_are_read_until_they_are_forgotten(tmp_path: Path) -> None:
    first, second = (str(tmp_path / name / "1") for name in ("train-model", "validate-serving"))
    write_failure(first, "train_model", DataError("two\nlines"))
    write_failure(second, "validate_serving", ValueError("x" * 100_000))
    found = {step.name: step.error or "" for step in read_failures(str(tmp_path))}
    assert found["train_model"] == "two\nlines"
    assert found["validate_serving"].startswith("ValueError: xxx")
    assert len(found["validate_serving"]) < 1_100
    forget_failure(first)
    assert [step.name for step in read_failures(str(tmp_path))] == ["validate_serving"]
