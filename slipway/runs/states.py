"""The platforms' states of runs and steps, and Slipway's states for them.

A word that is not here is "unknown", never taken for a failure: `tests/slipway/runs/test_states.py` compares the table
with the enums of the SDKs.
"""

from __future__ import annotations

from typing import Literal

from slipway.runs.record import RunState, StepState

State = Literal["pending", "running", "succeeded", "failed", "cancelled", "unknown"]

# What the exit handler is told of the group that it ends: `dsl.PipelineTaskFinalStatus.state`.
ENDED: dict[str, RunState] = {
    # Vertex AI, and kfp.local the first two: PipelineTaskState of kfp's pipeline_spec.proto.
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "interrupted",
    "SKIPPED": "succeeded",  # found in the cache
    "UNSCHEDULABLE": "failed",
    "NOT_TRIGGERED": "interrupted",
    "CANCEL_PENDING": "interrupted",
    "CANCELLING": "interrupted",
    "PENDING": "interrupted",
    "QUEUED": "interrupted",
    "RUNNING_DRIVER": "interrupted",
    "DRIVER_SUCCEEDED": "interrupted",
    "RUNNING_EXECUTOR": "interrupted",
    "TASK_STATE_UNSPECIFIED": "unknown",
    # Kubeflow: ML Metadata's Execution.State (metadata_store.proto), which backend/src/v2/driver/resolve.go passes on.
    "COMPLETE": "succeeded",
    "CACHED": "succeeded",
    "CANCELED": "interrupted",
    # Launchers write the ends: one that was killed together with its step leaves the group as it was.
    "RUNNING": "interrupted",
    "NEW": "interrupted",
    "UNKNOWN": "unknown",
}

# RuntimeState of Kubeflow's API v2beta1 (backend/api/v2beta1/run.proto).
KUBEFLOW_RUNS: dict[str, State] = {
    "RUNTIME_STATE_UNSPECIFIED": "pending",
    "PENDING": "pending",
    "RUNNING": "running",
    "CANCELING": "running",
    "PAUSED": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "cancelled",
}
KUBEFLOW_STEPS: dict[str, StepState] = {
    "RUNTIME_STATE_UNSPECIFIED": "skipped",  # Argo's Omitted (backend/src/apiserver/model/run.go)
    "PENDING": "pending",
    "RUNNING": "running",
    "CANCELING": "running",
    "PAUSED": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELED": "failed",
}

# PipelineState, and PipelineTaskDetail.State, of google.cloud.aiplatform_v1.
VERTEX_RUNS: dict[str, State] = {
    "PIPELINE_STATE_UNSPECIFIED": "unknown",
    "PIPELINE_STATE_QUEUED": "pending",
    "PIPELINE_STATE_PENDING": "pending",
    "PIPELINE_STATE_RUNNING": "running",
    "PIPELINE_STATE_CANCELLING": "running",
    "PIPELINE_STATE_PAUSED": "running",
    "PIPELINE_STATE_SUCCEEDED": "succeeded",
    "PIPELINE_STATE_FAILED": "failed",
    "PIPELINE_STATE_CANCELLED": "cancelled",
}
VERTEX_STEPS: dict[str, StepState] = {
    "STATE_UNSPECIFIED": "unknown",
    "PENDING": "pending",
    "RUNNING": "running",
    "CANCEL_PENDING": "running",
    "CANCELLING": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "succeeded",  # found in the cache
    "FAILED": "failed",
    "CANCELLED": "failed",
    "NOT_TRIGGERED": "skipped",
}

# `kfp.local.status.Status`.
LOCAL_STEPS: dict[str, StepState] = {"SUCCESS": "succeeded", "FAILURE": "failed"}
