"""The table of metrics is complete, and nothing else lists metrics."""

import inspect
from importlib import import_module
from typing import get_args

import numpy as np
import pytest

from slipway.evaluation.metric import BEST, METRICS, judged_metrics, key_metrics, ranking_metric, slice_metrics
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.results import Evaluation, SliceResult, Verdict
from slipway.evaluation.slices import Slicing
from slipway.module_api import MetricName, Task
from tests.fakes.kubeflow.artifacts import scalar_pages

TASKS: tuple[Task, ...] = get_args(Task)


def test_metrics_are_those_that_a_threshold_may_name() -> None:
    assert METRICS.keys() == set(TASKS)
    assert BEST.keys() == set(get_args(MetricName))


@pytest.mark.parametrize("task", TASKS)
def test_metrics_are_those_that_are_computed(task: Task) -> None:
    predictions = np.full((4, 2) if task == "multiclass" else 4, 0.5, np.float32)
    (computed,) = compute_metrics(task, np.arange(4) % 2, predictions, [Slicing((), np.zeros(4, np.int64), [()])])
    assert list(computed) == [metric.name for metric in METRICS[task]]


@pytest.mark.parametrize("task", TASKS)
def test_metrics_that_rank_slices_and_are_key_figures_have_a_direction(task: Task) -> None:
    assert ranking_metric(task) == key_metrics(task)[0]
    assert set(key_metrics(task)) <= set(slice_metrics(task))
    assert all(BEST[name] for name in slice_metrics(task))


@pytest.mark.parametrize("task", TASKS)
def test_scalars_of_a_task_have_all_judged_metrics_on_the_first_page(task: Task) -> None:
    judged = judged_metrics(task)
    measured: dict[str, float | None] = {metric.name: 0.5 for metric in METRICS[task]}
    verdict, baseline = Verdict(blessed=True, checks=[]), measured | {judged[0]: 0.75, judged[1]: None}
    overall = SliceResult(examples=1, candidate=measured, baseline=baseline)
    evaluation = Evaluation(task=task, label="y", engine="tfma", examples=1, verdict=verdict, overall=overall)
    scalars = evaluation.scalars()
    assert {"blessed", *judged} <= set(scalar_pages(dict.fromkeys(scalars, 0.0))[0])
    assert (scalars["blessed"], scalars[f"vs_baseline_{judged[0]}"]) == (1, -0.25)
    assert f"vs_baseline_{judged[1]}" not in scalars
    # What is not judged is on the artifact instead; nothing gets lost.
    assert set(scalars) | set(evaluation.facts()) >= set(measured)


def test_metrics_mean_the_same_in_every_task() -> None:
    for metrics in METRICS.values():
        for metric in metrics:
            assert BEST[metric.name] == metric.best


def test_metric_names_stand_nowhere_as_a_list() -> None:
    """A second list of metrics would miss the next one."""
    for module in ("config", "gate", "slices", "page", "tfma.files", "scoring"):
        source = inspect.getsource(import_module(f"slipway.evaluation.{module}"))
        named = {name for name in BEST if f'"{name}"' in source}
        assert len(named) <= 4, (module, named)
    assert not {name for name in BEST if f'"{name}"' in inspect.getsource(import_module("slipway.runs.report"))}
