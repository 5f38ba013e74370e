import numpy as np

from slipway.evaluation.slices import LISTED, WORST, MetricTable, SliceValues, list_slices, worst_slices


def table(examples: list[int], auc: list[float], mean_label: list[float]) -> MetricTable:
    values: list[SliceValues] = [(f"v{index}",) for index in range(len(examples))]
    return MetricTable(
        ("shop",), values, np.array(examples), {"auc": np.array(auc), "mean_label": np.array(mean_label)}
    )


def test_worst_slices_leaves_out_those_that_chance_decides() -> None:
    shops = table(
        [5_000, 99, 3_000, 400, 300], [0.9, 0.1, 0.05, 0.7, np.nan], [0.5, 0.5, 0.001, 0.5, 0.0]
    )  # v2 has three positives
    assert [row.name for row in worst_slices("binary", [shops])] == ["shop=v3", "shop=v0"]


def test_worst_slices_regression_ranks_the_largest_error_first() -> None:
    errors = {"root_mean_squared_error": np.array([1.0, 3.0, 2.0])}
    shops = MetricTable(("shop",), [("a",), ("b",), (None,)], np.full(3, 200), errors)
    assert [row.name for row in worst_slices("regression", [shops])] == ["shop=b", "shop=(missing)", "shop=a"]


def test_list_slices_keeps_the_largest_and_the_worst() -> None:
    count = 500
    sizes = list(range(100, 100 + count))
    auc = [0.9] * count
    auc[7] = 0.2
    listed, left_out = list_slices("binary", [table(sizes, auc, [0.5] * count)])
    names = {row.name for row in listed}
    assert len(listed) == LISTED
    assert "shop=v7" in names
    assert {f"shop=v{index}" for index in range(count - (LISTED - WORST), count)} <= names
    assert left_out[0].slices == count - LISTED
    assert sum(row.examples for row in listed) + left_out[0].examples == sum(sizes)


def test_list_slices_few_slices_leave_nothing_out() -> None:
    listed, left_out = list_slices("binary", [table([5, 10], [np.nan, 0.5], [0.0, 0.5])])
    assert [row.name for row in listed] == ["shop=v1", "shop=v0"]
    assert listed[1].candidate["auc"] is None
    assert left_out == []
