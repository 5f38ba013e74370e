"""Every state that a platform may report has its entry; the words are the SDKs' own."""

from typing import Any, get_args

import kfp_server_api
import pytest
from google.cloud.aiplatform_v1 import PipelineState, PipelineTaskDetail
from kfp.local.status import Status
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineStateEnum

from cli.output import COLOURS, SIGNS
from slipway.runs.record import RunState, StepState
from slipway.runs.report import _SIGNS as _SIGNS_ON_PAGES
from slipway.runs.states import (
    ENDED,
    KUBEFLOW_RUNS,
    KUBEFLOW_STEPS,
    LOCAL_STEPS,
    VERTEX_RUNS,
    VERTEX_STEPS,
    State,
)

# third_party/ml-metadata/ml_metadata/proto/metadata_store.proto of kubeflow/pipelines, `Execution.State`: no package of
# the lock has it.
ML_METADATA = {"UNKNOWN", "NEW", "RUNNING", "COMPLETE", "FAILED", "CACHED", "CANCELED"}
# pkg/apis/workflow/v1alpha1/workflow_types.go of argo-workflows v3.6.7 and v4.0.5, `NodePhase`.
ARGO = {"Pending", "Running", "Succeeded", "Skipped", "Failed", "Error", "Omitted"}


@pytest.mark.parametrize(
    ("table", "words", "meanings"),
    [
        (ENDED, {*PipelineStateEnum.PipelineTaskState.keys(), *ML_METADATA}, RunState),
        (KUBEFLOW_RUNS, kfp_server_api.V2beta1RuntimeState.allowable_values, State),
        (KUBEFLOW_STEPS, ARGO, StepState),
        (VERTEX_RUNS, [state.name for state in PipelineState], State),
        (VERTEX_STEPS, [state.name for state in PipelineTaskDetail.State], StepState),
        (LOCAL_STEPS, [status.name for status in Status], StepState),
    ],
    ids=["ended", "kubeflow runs", "kubeflow steps", "vertex runs", "vertex steps", "local steps"],
)
def test_states_are_all_in_the_table(table: dict[str, str], words: Any, meanings: Any) -> None:
    assert set(table) == set(words)
    assert set(table.values()) <= set(get_args(meanings))


def test_states_that_end_a_run_well_are_these() -> None:
    assert {word for word, meaning in ENDED.items() if meaning == "succeeded"} == {
        "SUCCEEDED", "SKIPPED", "COMPLETE", "CACHED",
    }  # fmt: skip
    assert not {"running"} & set(ENDED.values())


def test_states_of_steps_and_runs_can_all_be_shown() -> None:
    steps = set(get_args(StepState))
    assert set(SIGNS) == set(_SIGNS_ON_PAGES) == steps
    assert {*get_args(RunState), *get_args(State)} - {"pending"} <= set(COLOURS)
