"""The table of metrics is complete, and nothing else lists metrics."""

import inspect
from importlib import import_module
from typing import get_args

import numpy as np
import pytest

from slipway.evaluation.metric import BEST, METRICS, key_metrics, ranking_metric, slice_metrics
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.slices import Slicing
from slipway.module_api import MetricName, Task

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
