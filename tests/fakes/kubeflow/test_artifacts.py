"""The rules refuse what Kubeflow's launcher and UI refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.kubeflow.artifacts import check_curve, check_matrix, read_properties, scalar_pages, to_property

POINT = {"confidenceThreshold": 0.5, "falsePositiveRate": 0.1, "recall": 0.9}


def test_properties_are_typed_as_the_launcher_does(tmp_path: Path) -> None:
    metadata = {"a": 1, "b": True, "c": "x", "d": [1], "e": {"f": 2}}
    (tmp_path / "output.json").write_text(json.dumps({"artifacts": {"m": {"artifacts": [{"metadata": metadata}]}}}))
    assert read_properties(tmp_path / "output.json") == {
        "m": {"a": 1.0, "b": 1, "c": "x", "d": {"list": [1]}, "e": {"struct": {"f": 2}}}
    }


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_properties_that_are_no_json_or_null_are_refused(tmp_path: Path, value: Any) -> None:
    artifact = {"metadata": {"auc": value}}
    (tmp_path / "output.json").write_text(json.dumps({"artifacts": {"m": {"artifacts": [artifact]}}}))
    with pytest.raises(AssertionError):
        read_properties(tmp_path / "output.json")


def test_scalars_are_paged_by_ten_in_the_order_of_their_names() -> None:
    assert scalar_pages(dict.fromkeys("kjihgfedcBA", 0.0)) == [list("ABcdefghij"), ["k"]]
    with pytest.raises(AssertionError, match="MLflow"):
        scalar_pages({"blessed": to_property(True)})


@pytest.mark.parametrize("change", [{"recall": "0.9"}, {"recall": None}, {"falsePositiveRate": [0]}])
def test_curve_of_other_than_numbers_is_refused(change: dict[str, Any]) -> None:
    check_curve({"confidenceMetrics": {"list": [POINT]}})
    with pytest.raises(AssertionError):
        check_curve({"confidenceMetrics": {"list": [POINT | change]}})


@pytest.mark.parametrize(("names", "rows"), [("ab", [[1, 2]]), ("ab", [[1, 2], [3]]), ("ab", [[1, 2], [3, "4"]])])
def test_matrix_that_is_not_square_or_no_numbers_is_refused(names: str, rows: list[list[Any]]) -> None:
    def matrix(rows: list[list[Any]]) -> dict[str, Any]:
        specs = [{"displayName": name} for name in names]
        return {"confusionMatrix": {"struct": {"annotationSpecs": specs, "rows": [{"row": row} for row in rows]}}}

    check_matrix(matrix([[1, 2], [3, 4]]))
    with pytest.raises(AssertionError):
        check_matrix(matrix(rows))
