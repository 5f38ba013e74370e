"""One home through a user's first hour: a cold run, a run with nothing changed, edits, bad data.

The tests of this file build on each other, in their order: the quick ones, and the slow ones.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format

from serving.protocol.protos import predict_pb2, prediction_service_pb2_grpc
from slipway.evaluation.metric import judged_metrics
from slipway.module_kit.config import read_config
from tests.e2e.served import Served, serve
from tests.e2e.workspace import PROJECT, Workspace, make_workspace
from tests.fakes.kubeflow.artifacts import check_curve, check_markdown, check_matrix, read_properties, scalar_pages

# 4,000 trips and three epochs are quick and do not make the model that the module's own thresholds ask for.
EASY = ("--set", "training.epochs=3", "--set", "thresholds=[{metric: auc, min: 0.8}]")
STRICT = ("--set", "training.epochs=3", "--set", "thresholds=[{metric: auc, min: 1}]")
LOOKUPS = {"resolve_source", "admit_examples", "resolve_baseline", "push_model", "rollout_model", "confirm_rollout",
           "record_run"}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def trips(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 4,000 of the module's synthetic trips, at a path that later tests write to."""
    from slipway.module_kit.loader import load_function
    from slipway.stores.module_store import publish_module

    folder = tmp_path_factory.mktemp("data")
    published = publish_module(workspace.modules / "taxi", str(folder / "published"))
    load_function(published.uri, "sample", "write_sample")(folder / "trips.csv", rows=4_000)
    return folder / "trips.csv"


@pytest.fixture(scope="module", autouse=True)
def first_screen(workspace: Workspace, trips: Path) -> str:
    """What the run from nothing printed, which is before all tests of the quick suite and of the slow one."""
    return workspace.slipway("run", "--data", str(trips), *EASY).stdout


def test_run_from_nothing_pushes_a_model(workspace: Workspace, first_screen: str) -> None:
    run = workspace.last_run()
    assert run["state"] == "succeeded"
    assert run["verdict"] == "pushed", run["reasons"]
    assert run["rows"]["read"] == 4_000
    assert run["rows"]["train"] + run["rows"]["eval"] + run["rows"]["quarantined"] == 4_000
    assert 0.5 < run["metrics"]["auc"] < 1
    assert all(step["state"] == "succeeded" and not step["cached"] for step in run["steps"])
    version = Path(run["pushed_path"])
    assert version.name == str(run["pushed_version"])
    assert (version / "saved_model.pb").is_file()
    assert Path(run["report"]).is_file()
    for line in ("ingest_examples", "push_model", str(version), run["report"]):
        assert line in first_screen
    assert "KFP Executor" not in first_screen, "the steps' own logs belong in files"


def newest_folders(workspace: Workspace) -> Path:
    """Where the steps of the last run wrote; those from the cache wrote nothing there."""
    return max((workspace.home / "artifacts").iterdir())


def known_metrics(run: dict[str, Any]) -> set[str]:
    """Those that are defined: precision is not where nothing was predicted positive."""
    return {name for name in judged_metrics("binary") if run["metrics"][name] is not None}


def test_run_leaves_what_kubeflows_ui_shows(workspace: Workspace) -> None:
    run, folders = workspace.last_run(), newest_folders(workspace)
    found = {folder.name: read_properties(folder / "executor_output.json") for folder in folders.iterdir()}
    evaluated, trained = found["evaluate-model"], found["train-model"]["training_metrics"]
    assert scalar_pages(evaluated["metrics"]) == [sorted({"blessed", *known_metrics(run)})]
    check_curve(evaluated["classification_metrics"])
    check_matrix(evaluated["classification_metrics"])
    assert evaluated["evaluation"]["example_count"] == run["rows"]["eval"]
    first = ("best_epoch", "best_validation_loss", "epochs", "fit_seconds", "hyperparameters.hidden.0")
    assert set(first) <= set(scalar_pages(trained)[0])
    own = read_config(workspace.modules / "taxi").hyperparameters
    assert (trained["epochs"], trained["hyperparameters.learning_rate"]) == (3, own["learning_rate"])
    assert found["train-model"]["model"]["hyperparameters"]["struct"]["hidden"] == own["hidden"]
    assert found["ingest-examples"]["examples"]["rows"]["struct"]["read"] == 4_000
    assert found["validate-examples"]["anomalies"]["errors"] == 0
    assert found["push-model"]["verdict"] == {"verdict": "pushed", "version": run["pushed_version"]}
    said = (folders / "push-model" / "verdict").read_text()
    check_markdown(said)
    assert said.startswith(f"# Pushed: taxi, version {run['pushed_version']}\n")


def test_artifacts_that_are_folders_say_what_is_in_them(workspace: Workspace) -> None:
    folders = {}
    for file in workspace.home.glob("artifacts/*/*/executor_output.json"):
        for name, found in json.loads(file.read_text()).get("artifacts", {}).items():
            (artifact,) = found["artifacts"]
            if (file.parent / name).is_dir():
                folders[file.parent / name] = artifact["metadata"]["files"]
    assert {"examples", "model", "evaluation"} <= {folder.name for folder in folders}
    for folder, said in folders.items():
        # `split=eval` is one of the splits, `metrics-00000-of-00001.tfrecord` one of the parts.
        stems = {stem[0] for path in folder.iterdir() if (stem := re.match(r"\w+(\.\w+)?", path.name))}
        assert {stem for stem in stems if stem not in said} == set(), folder


def test_run_again_with_nothing_changed_is_cached_and_pushes_nothing_twice(workspace: Workspace, trips: Path) -> None:
    before = workspace.last_run()
    workspace.slipway("run", "--data", str(trips), *EASY)
    states = workspace.states()
    assert {name for name, state in states.items() if state != "cached"} == LOOKUPS
    assert workspace.last_run()["pushed_version"] == before["pushed_version"]
    said = (newest_folders(workspace) / "push-model" / "verdict").read_text()
    assert f"already pushed as version {before['pushed_version']}" in said


@pytest.mark.slow
def test_run_after_an_edit_to_model_runs_from_training_on(workspace: Workspace, trips: Path) -> None:
    """And asks for more than the model does, for the test after it."""
    model = workspace.modules / "taxi" / "model.py"
    model.write_text(model.read_text() + "\n# edited\n")
    done = workspace.slipway("run", "--data", str(trips), *STRICT, "--require-push", code=1)
    assert "no model was pushed" in done.stderr
    states = workspace.states()
    assert states["transform_features"] == "cached"
    assert {name for name, state in states.items() if state == "succeeded"} == LOOKUPS | {
        "train_model",
        "evaluate_model",
        "validate_serving",
    }


@pytest.mark.slow
def test_run_of_a_refused_model_says_so_first_and_fails_where_a_push_is_required(
    workspace: Workspace, trips: Path
) -> None:
    run, *_, first = json.loads(workspace.slipway("runs", "list", "--json").stdout)
    assert run["state"] == "succeeded"
    folders = newest_folders(workspace)
    said = (folders / "push-model" / "verdict").read_text()
    check_markdown(said)
    assert said.startswith("# Refused: taxi was not pushed\n")
    for fact in ("is below 1", f"version {first['pushed_version']}", "| auc |"):
        assert fact in said
    metrics = read_properties(folders / "evaluate-model" / "executor_output.json")["metrics"]
    assert scalar_pages(metrics)[0][: 1 + len(known_metrics(run))] == sorted({"blessed", *known_metrics(run)})
    compared = known_metrics(run) & known_metrics(first)
    assert {name for name in metrics if name.startswith("vs_")} == {f"vs_baseline_{name}" for name in compared}
    assert metrics["blessed"] == 0
    workspace.slipway("run", "--data", str(trips), *STRICT)


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    with serve(workspace) as where:
        yield where


@pytest.mark.slow
def test_serve_answers_the_requests_of_the_readme(served: Served) -> None:
    readme = (PROJECT / "README.md").read_text()
    rest_body, grpc_body = re.findall(r"-d '(\{.*?\})' ", readme, flags=re.DOTALL)

    answer = httpx.post(f"http://{served.rest}/v1/models/taxi:predict", content=rest_body)
    assert answer.status_code == 200, answer.text
    assert 0 < answer.json()["predictions"][0] < 1

    request = json_format.Parse(grpc_body, predict_pb2.PredictRequest())
    with grpc.insecure_channel(served.grpc) as channel:
        outputs = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10).outputs
    assert 0 < outputs["predictions"].float_val[0] < 1


@pytest.mark.slow
def test_predict_says_the_same_over_both_protocols(workspace: Workspace, served: Served, trips: Path) -> None:
    def lines(*arguments: str) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in workspace.slipway("predict", "--json-lines", *arguments).stdout.splitlines()
        ]

    over_grpc = lines("--grpc", "--address", served.grpc, "--csv", str(trips))
    over_rest = lines("--rest", "--address", served.rest, "--csv", str(trips))
    assert len(over_grpc) == len(over_rest) == 4_000
    assert [row["class"] for row in over_grpc] == [row["class"] for row in over_rest]
    scores = [[row["scores"]["true"] for row in rows] for rows in (over_grpc, over_rest)]
    assert all(abs(one - other) < 1e-6 for one, other in zip(*scores, strict=True))
    assert len(set(scores[0])) > 1_000
    assert len(workspace.slipway("predict", "--address", served.grpc).stdout.splitlines()) == 4  # three samples


@pytest.mark.slow
def test_parity_of_the_pushed_model_holds(workspace: Workspace, served: Served) -> None:
    said = workspace.slipway("parity", "--grpc", served.grpc, "--rest", served.rest, "--json").stdout
    differences = json.loads(said)
    assert {each["signature"] for each in differences} == {"serving_default", "raw", "classify", "transform_features"}
    assert len({each["way"] for each in differences}) == 3
    assert all(each["agrees"] for each in differences)
    assert len(json.loads(workspace.slipway("models", "list", "--json").stdout)) == 1


@pytest.mark.slow
def test_run_on_an_edited_file_reads_it_again(workspace: Workspace, trips: Path) -> None:
    with trips.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with trips.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"trip_start_month": "13"} for row in rows)
    done = workspace.slipway("run", "--data", str(trips), code=1)
    assert workspace.states()["ingest_examples"] == "succeeded"
    assert "trip_start_month" in done.stderr + done.stdout
    assert "13" in done.stderr + done.stdout


@pytest.mark.slow
def test_run_stopped_by_an_anomaly_trains_nothing_and_explains_itself(workspace: Workspace, trips: Path) -> None:
    states = workspace.states()
    assert states["validate_examples"] == "succeeded", "its page is seen in Kubeflow's UI"
    assert states["admit_examples"] == "failed"
    assert states["train_model"] == "skipped"
    assert states["record_run"] == "succeeded"
    run = workspace.last_run()
    assert run["state"] == "failed"
    assert run["pushed_version"] is None
    assert Path(run["report"]).is_file()
    assert "trip_start_month" in workspace.slipway("explain", run["run"]).stdout
    assert run["run"] in workspace.slipway("runs", "list").stdout


def test_explain_of_a_version_names_its_run(workspace: Workspace) -> None:
    models = json.loads(workspace.slipway("models", "list", "--json").stdout)
    text = workspace.slipway("explain", str(models[0]["version"])).stdout
    assert "auc" in text
    assert models[0]["lineage"]["run"] in text


def test_report_of_the_first_run_is_one_file(workspace: Workspace) -> None:
    runs = json.loads(workspace.slipway("runs", "list", "--json").stdout)
    first = min(run["run"] for run in runs)
    page = Path(workspace.slipway("report", first).stdout.strip().splitlines()[-1].split()[-1]).read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for part in ("Train model", "ROC", "payment_type", "auc"):
        assert part in page
