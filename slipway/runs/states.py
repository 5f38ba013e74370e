"""The platforms' states of runs and steps, by Slipway's states for them.

A word that is not here is "unknown", never taken for a failure: `tests/slipway/runs/test_states.py` compares the tables
with the enums of the SDKs.
"""

from typing import Any, Literal

from slipway.runs.record import RunState, StepState

State = Literal["pending", "running", "succeeded", "failed", "cancelled", "unknown"]


def _by_word(**words: str) -> dict[str, Any]:
    return {word: state for state, listed in words.items() for word in listed.split()}


# The state that the exit handler gets of its group, `dsl.PipelineTaskFinalStatus.state`. Vertex AI, and kfp.local for
# SUCCEEDED and FAILED, pass PipelineTaskState of kfp's pipeline_spec.proto; SKIPPED was found in the cache. Kubeflow
# passes ML Metadata's Execution.State (metadata_store.proto) in backend/src/v2/driver/resolve.go: launchers write the
# ends, so one that was killed together with its step leaves the group RUNNING.
ENDED: dict[str, RunState] = _by_word(
    succeeded="SUCCEEDED SKIPPED COMPLETE CACHED",
    failed="FAILED UNSCHEDULABLE",
    cancelled="CANCELLED CANCELED CANCEL_PENDING CANCELLING",
    interrupted="NOT_TRIGGERED PENDING QUEUED NEW RUNNING RUNNING_DRIVER DRIVER_SUCCEEDED RUNNING_EXECUTOR",
    unknown="TASK_STATE_UNSPECIFIED UNKNOWN",
)

# RuntimeState of Kubeflow's API v2beta1 (backend/api/v2beta1/run.proto).
KUBEFLOW_RUNS: dict[str, State] = _by_word(
    pending="RUNTIME_STATE_UNSPECIFIED PENDING",
    running="RUNNING CANCELING PAUSED",
    succeeded="SUCCEEDED SKIPPED",
    failed="FAILED",
    cancelled="CANCELED",
)
# NodePhase of Argo Workflows (pkg/apis/workflow/v1alpha1/workflow_types.go), which runs Kubeflow's steps.
KUBEFLOW_STEPS: dict[str, StepState] = _by_word(
    pending="Pending",
    running="Running",
    succeeded="Succeeded",
    failed="Failed Error",
    skipped="Skipped Omitted",
)

# PipelineState, and PipelineTaskDetail.State, of google.cloud.aiplatform_v1.
VERTEX_RUNS: dict[str, State] = _by_word(
    pending="PIPELINE_STATE_QUEUED PIPELINE_STATE_PENDING",
    running="PIPELINE_STATE_RUNNING PIPELINE_STATE_CANCELLING PIPELINE_STATE_PAUSED",
    succeeded="PIPELINE_STATE_SUCCEEDED",
    failed="PIPELINE_STATE_FAILED",
    cancelled="PIPELINE_STATE_CANCELLED",
    unknown="PIPELINE_STATE_UNSPECIFIED",
)
# SKIPPED was found in the cache.
VERTEX_STEPS: dict[str, StepState] = _by_word(
    pending="PENDING",
    running="RUNNING CANCEL_PENDING CANCELLING",
    succeeded="SUCCEEDED SKIPPED",
    failed="FAILED CANCELLED",
    skipped="NOT_TRIGGERED",
    unknown="STATE_UNSPECIFIED",
)

# `kfp.local.status.Status`.
LOCAL_STEPS: dict[str, StepState] = {"SUCCESS": "succeeded", "FAILURE": "failed"}
