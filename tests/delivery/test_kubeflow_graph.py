"""The graph of the training pipeline as Kubeflow's UI draws it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from delivery.package import edges
from tests.compiled.graph import drawn, lay_out
from tests.compiled.specs import golden_spec

# At the least zoom of the UI, 0.5, a screen shows about 2,300.
WIDEST = 2_100


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return golden_spec("kubeflow")


def test_graph_fits_a_screen(spec: dict[str, Any]) -> None:
    assert lay_out(*drawn(spec)).width <= WIDEST


def test_graph_is_one_group_by_the_pipelines_name_and_flat_inside(spec: dict[str, Any]) -> None:
    root = spec["root"]["dag"]["tasks"]
    assert {name: task["taskInfo"]["name"] for name, task in root.items()} == {
        "slipway-training": "slipway-training",  # the path above the open group shows the key
        "record-run": "Record the run",
    }
    groups = [name for name, component in spec["components"].items() if "dag" in component]
    assert groups == [root["slipway-training"]["componentRef"]["name"]]


def test_graph_names_each_page_by_what_it_shows(spec: dict[str, Any]) -> None:
    artifacts = Counter(box.partition(".")[2] for box in drawn(spec)[0] if "." in box)
    assert {name for name, count in artifacts.items() if count > 1} <= {"metrics"}
    assert artifacts.keys() >= {"statistics_page", "anomalies_page", "evaluation_page", "rollout_page"}


def test_graph_has_no_edge_beside_those_of_an_artifact(spec: dict[str, Any]) -> None:
    _, found = drawn(spec)
    by_artifact = {(tail.partition(".")[0], head) for tail, head in found if "." in tail}
    assert not by_artifact & set(found)
    assert edges(spec)["train_model"] == ["ingest_examples", "transform_features"], "Argo adds them"


def test_graph_leads_from_the_data_to_the_model_and_its_verdict(spec: dict[str, Any]) -> None:
    path = ["ingest-examples.examples", "transform-features", "transform-features.transformed_examples", "train-model",
            "train-model.model", "evaluate-model", "evaluate-model.evaluation", "push-model"]  # fmt: skip
    assert {*pairwise(path)} <= set(drawn(spec)[1])


def test_graph_hands_each_artifact_only_to_steps_that_read_it(spec: dict[str, Any]) -> None:
    takers: dict[str, set[str]] = {}
    for tail, head in drawn(spec)[1]:
        takers.setdefault(tail, set()).add(head)
    assert takers["ingest-examples.examples"] == {
        "compute-statistics", "validate-examples", "transform-features", "evaluate-model",
    }  # fmt: skip
    assert takers["ingest-examples.eval_sample"] == {"train-model", "validate-serving"}
    assert takers["train-model.model"] == {"evaluate-model", "validate-serving", "push-model"}
    assert takers["validate-examples.anomalies"] == {"admit-examples"}
