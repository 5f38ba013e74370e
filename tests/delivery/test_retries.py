"""When each platform starts a failed step again, by the compiled spec: its `retryPolicy` means two things.

`argo_attempts` follows Argo Workflows, `workflow/controller/operator.go`, `processNodeRetries`, alike in v3.6.7 and
v4.0.5, with the strategy that Kubeflow Pipelines makes of the spec, `backend/src/v2/compiler/argocompiler/container.go`
(`getTaskRetryParametersWithValues` and `addParameterDefault`, 2.14 to 2.17). `vertex_pauses` follows
https://cloud.google.com/vertex-ai/docs/pipelines/configure-retries.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec

from delivery.compile import Destination, compile_pipeline
from settings.load import load_settings
from slipway.targets import RemoteTarget
from tests.compiled.specs import IMAGE, golden_arguments, tasks

HOUR, DAY = 3600.0, 86_400.0
VERTEX_CAP = 3600.0


Policies = dict[RemoteTarget, dict[str, dict[str, Any]]]


class Attempt(NamedTuple):
    """In seconds since the first attempt began."""

    began: float
    ended: float
    killed: bool


def argo_attempts(retry_policy: dict[str, Any], runs: list[float]) -> list[Attempt]:
    """The attempts of a step, of which each would run for one of `runs`, and fails then."""
    policy = ParseDict(retry_policy, PipelineTaskSpec.RetryPolicy())
    # A field that is not in the spec gets the template's default, "0"; Argo takes a number for seconds.
    window = float(policy.backoff_max_duration.seconds)
    duration, factor = float(policy.backoff_duration.seconds), policy.backoff_factor
    assert factor == int(factor), "intstr.Int32 refuses it"
    began, deadline, attempts = 0.0, float("inf"), list[Attempt]()
    for run in runs:
        ended = min(began + run, deadline)
        attempts.append(Attempt(began, ended, killed=ended < began + run))
        next_start = ended + duration * factor ** (len(attempts) - 1)
        # "Max duration limit exceeded", "Backoff would exceed max duration limit", "No more retries left"
        if max(ended, next_start) > window or len(attempts) > policy.max_retry_count:
            break
        began, deadline = next_start, window  # opts.executionDeadline: "Step exceeded its deadline"
    return attempts


def vertex_pauses(retry_policy: dict[str, Any]) -> list[float]:
    """Seconds between the attempts."""
    policy = ParseDict(retry_policy, PipelineTaskSpec.RetryPolicy())
    longest = min(float(policy.backoff_max_duration.seconds), VERTEX_CAP)
    return [
        min(policy.backoff_duration.seconds * policy.backoff_factor**number, longest)
        for number in range(policy.max_retry_count)
    ]


OLD = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "300s"}


@pytest.mark.parametrize(
    ("policy", "run", "attempts", "killed"),
    [
        (OLD, 200.0, 2, True),  # the second would have ended at 430 s
        (OLD, 280.0, 1, False),
        (OLD, 400.0, 1, False),
        ({name: value for name, value in OLD.items() if name != "backoffMaxDuration"}, 1.0, 1, False),
        (OLD | {"backoffMaxDuration": "3600s"}, 2000.0, 2, True),  # what kfp writes if nobody says anything
    ],
)
def test_argo_with_a_short_window_hardly_tries_again(
    policy: dict[str, Any], run: float, attempts: int, killed: bool
) -> None:
    made = argo_attempts(policy, [run] * 9)
    assert len(made) == attempts
    assert made[-1].killed == killed


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    """On each target, those of the steps of both pipelines, of a module that is tuned and whose monitor may train."""
    whole = {"training": {"search": "{}"}, "monitoring": {"training_uri": "gs://bucket/prepared/1.json"}}
    found: Policies = {"kubeflow": {}, "vertex": {}}
    for target, name in product(found, whole):
        path = tmp_path_factory.mktemp(target) / f"{name}.yaml"
        destination = Destination(target, IMAGE, load_settings().compute)
        compile_pipeline(name, destination, golden_arguments(target, name) | whole[name], path)
        for step, task in tasks(next(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))).items():
            if "retryPolicy" in task:
                found[target][step] = task["retryPolicy"]
    return found


@pytest.mark.parametrize("run", [1.0, 280.0, 5 * 60.0, 90 * 60.0, 2 * DAY])
def test_kubeflow_starts_a_step_again_however_long_it_ran_before_it_died(policies: Policies, run: float) -> None:
    compute = load_settings().compute
    assert policies["kubeflow"].keys() == {name for name, wants in compute.items() if wants.retries}
    for name, policy in policies["kubeflow"].items():
        attempts = argo_attempts(policy, [run] * 9)
        assert len(attempts) == 1 + compute[name].retries, name
        assert not any(attempt.killed for attempt in attempts), name
        assert attempts[1].began - attempts[0].ended == 30, name


def test_vertex_pauses_minutes_at_most_and_never_beyond_its_cap(
    policies: Policies,
) -> None:
    assert policies["vertex"].keys() == policies["kubeflow"].keys()
    for policy in policies["vertex"].values():
        assert ParseDict(policy, PipelineTaskSpec.RetryPolicy()).backoff_max_duration.seconds <= VERTEX_CAP
        assert vertex_pauses(policy)[:2] == [30, 60]
        assert max(vertex_pauses(policy | {"maxRetryCount": 5})) == 300
