import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from slipway.errors import ConfigError, DataError, GateError
from slipway.evaluation.results import Evaluation, read_evaluation
from slipway.evaluation.slices import LISTED, WORST
from slipway.monitoring.baseline import read_baseline
from slipway.stores import storage
from tests.components.evaluation_models import MetricsRecorder, save_model, write_examples, write_schema
from tests.fakes.storage_server import StorageServer
from tests.steps import evaluate

ROWS = 600
INPUTS = {"x": "FLOAT", "pay": "BYTES"}
CONFIG: dict[str, Any] = {
    "task": "binary",
    "label": {"column": "y"},
    "slices": [["pay"], ["pay", "hour"]],
    "thresholds": [{"metric": "auc", "min": 0.7, "min_examples": 100.0}],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples (one row in ten without a label), a schema, and models by name."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("evaluate")
    random = np.random.default_rng(1)
    x = random.normal(size=ROWS)
    labels = pa.array(x + random.normal(size=ROWS) > 0, mask=np.arange(ROWS) % 10 == 0)
    columns = {
        "x": x,
        "pay": [("Cash", "Cash", "Card", None)[index] for index in random.integers(0, 4, ROWS)],
        "hour": random.integers(0, 24, ROWS),
        "id": np.arange(ROWS),
        "w": np.linspace(0.5, 1.5, ROWS),
        "y": labels,
    }
    write_examples(folder / "examples", pa.table(columns), files=3)
    write_schema(folder / "schema", INPUTS, "y")
    save_model(folder / "good", INPUTS, lambda x, pay: tf.sigmoid(2 * x))
    save_model(folder / "bad", INPUTS, lambda x, pay: tf.sigmoid(-2 * x))
    save_model(folder / "wide", INPUTS, lambda x, pay: tf.sigmoid(tf.stack([x, x], axis=1)))
    save_model(folder / "older", INPUTS | {"tips": "FLOAT"}, lambda x, pay, tips: tf.sigmoid(x + tips))
    save_model(folder / "other_type", {"x": "BYTES"}, lambda x: tf.strings.to_number(x))
    return folder


def run(
    root: Path, out: Path, model: str = "good", baseline: str = "", served: dict[str, str] | None = None, **changes: Any
) -> Evaluation:
    log = MetricsRecorder()
    uri = str(root / baseline) if baseline else ""
    return evaluate(
        str(root / "examples"), str(root / "schema"), str(root / model), uri, served or {}, CONFIG | changes, {},
        str(out), log, log, str(out / "page.html"),
    )  # fmt: skip


def test_evaluate_writes_what_read_evaluation_reads(root: Path, tmp_path: Path) -> None:
    evaluation = run(root, tmp_path, baseline="bad")
    assert read_evaluation(tmp_path) == evaluation
    assert evaluation.verdict.blessed
    assert (evaluation.examples, evaluation.unlabelled) == (540, 60)
    assert evaluation.overall.baseline
    assert sum(row.examples for row in evaluation.slices if row.columns == ["pay"]) == 540
    assert "pay=(missing)" in {row.name for row in evaluation.slices}
    assert "NaN" not in (tmp_path / "evaluation.json").read_text(encoding="utf-8")


def test_evaluate_writes_a_baseline_that_counts_rows_and_answers_within_slices_too(root: Path, tmp_path: Path) -> None:
    at_decision = {"metric": "recall", "decision": 0.3, "min": 0.1}
    evaluation = run(root, tmp_path, label={"column": "y", "weight": "w"}, thresholds=[at_decision])
    baseline = read_baseline(str(tmp_path))
    assert (baseline.rows, baseline.features["x"].rows) == (ROWS, ROWS)
    assert baseline.answers["score"].rows == evaluation.examples, "rows, and not their weights"
    by_pay = {one.name: one for one in baseline.slices if one.columns == ["pay"]}
    assert by_pay.keys() == {"pay=Cash", "pay=Card", "pay=(missing)"}
    assert sum(one.rows for one in by_pay.values()) == ROWS
    assert all(sum(one.counts["x"]) == one.rows for one in by_pay.values())
    assert sum(sum(one.counts["score"]) for one in by_pay.values()) == evaluation.examples
    assert by_pay["pay=Cash"].counts.keys() == {"x", "y", "score"}
    assert baseline.metrics[0].candidate["recall at decision 0.3"] is not None


def test_evaluate_logs_finite_metrics_for_kubeflow(root: Path, tmp_path: Path) -> None:
    log = MetricsRecorder()
    evaluate(
        str(root / "examples"), str(root / "schema"), str(root / "good"), "", {}, CONFIG, {},
        str(tmp_path), log, log, str(tmp_path / "page.html"),
    )  # fmt: skip
    assert log.metrics["auc"] > 0.7
    assert log.roc
    assert len(log.roc[0]) <= 200
    assert log.confusion
    assert log.confusion[0] == ["false", "true"]
    assert sum(map(sum, log.confusion[1])) == 540


def test_evaluate_page_says_verdict_and_slices(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path, baseline="bad", thresholds=[{"metric": "auc", "min": 0.99}])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "refused" in page
    assert "is below 0.99" in page
    assert "pay=Cash" in page
    assert "ROC curve" in page


def test_evaluate_files_open_in_tfma(root: Path, tmp_path: Path) -> None:
    by_pay = {"metric": "auc", "min": 0.9, "slice": ["pay"], "min_examples": 50}
    evaluation = run(root, tmp_path, baseline="bad", thresholds=[by_pay])
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(str(tmp_path), model_name="candidate")
    by_slice = dict(result.slicing_metrics)
    assert by_slice[()][""][""]["auc"]["doubleValue"] == evaluation.overall.candidate["auc"]
    cash = next(row for row in evaluation.slices if row.name == "pay=Cash")
    assert by_slice[("pay", "Cash"),][""][""]["log_loss"]["doubleValue"] == cash.candidate["log_loss"]
    assert [spec.name for spec in result.config.model_specs] == ["candidate", "baseline"]
    assert result.plots[0][1][""][""]["confusionMatrixAtThresholds"]["matrices"]
    validation = tfma.load_validation_result(str(tmp_path))
    assert not validation.validation_ok
    failure = validation.metric_validations_per_slice[0]
    assert failure.slice_key.single_slice_keys[0].column == "pay"
    assert failure.failures[0].metric_threshold.value_threshold.lower_bound.value == 0.9


def test_evaluate_many_slices_lists_the_largest_and_counts_the_rest(root: Path, tmp_path: Path) -> None:
    evaluation = run(root, tmp_path, slices=[["id"]])
    assert len(evaluation.slices) == LISTED
    (left,) = evaluation.left_out
    assert (left.columns, left.slices, left.examples) == (["id"], 540 - LISTED, 540 - LISTED)
    assert len(evaluation.worst) <= WORST


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        ("older", "it needs tips, which the schema does not have"),
        ("missing", "cannot load"),
        ("other_type", "it cannot take the rows of the eval split"),
        ("wide", r"its predictions have the shape \[180, 2\], not \[180\]"),
    ],
)
def test_evaluate_baseline_that_cannot_be_scored_refuses_with_the_reason(
    root: Path, tmp_path: Path, baseline: str, reason: str
) -> None:
    evaluation = run(root, tmp_path, baseline=baseline, thresholds=[{"metric": "auc", "max_drop": 0.1}])
    assert not evaluation.verdict.blessed
    assert evaluation.baseline_problem
    assert re.search(reason, evaluation.verdict.reasons()[0])
    assert run(root, tmp_path, baseline=baseline).verdict.blessed


def test_evaluate_candidate_that_cannot_be_scored_is_an_error(root: Path, tmp_path: Path) -> None:
    for model, reason in (("older", "it needs tips"), ("wide", "have the shape"), ("missing", "cannot load")):
        with pytest.raises(GateError, match=f"the candidate .*{model} cannot be scored: .*{reason}"):
            run(root, tmp_path, model=model)


def test_evaluate_unknown_slice_column_is_an_error_before_any_model_is_asked(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slice column 'pya' is not in the data; did you mean 'pay'"):
        run(root, tmp_path, slices=[["pya"]])


def test_evaluate_threshold_of_another_task_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no metric of a binary module; choose one of auc"):
        run(root, tmp_path, thresholds=[{"metric": "r_squared", "min": 0.5}])


def test_evaluate_eval_split_without_labels_is_an_error(root: Path, tmp_path: Path) -> None:
    rows = pa.table({"x": [1.0], "pay": ["a"], "hour": [1], "y": pa.nulls(1, pa.int64())})
    write_examples(tmp_path / "examples", rows)
    (tmp_path / "schema").symlink_to(root / "schema")
    (tmp_path / "good").symlink_to(root / "good")
    with pytest.raises(DataError, match="no row of the eval split has a label"):
        run(tmp_path, tmp_path / "out")


def test_evaluate_baseline_in_a_bucket_is_fetched(root: Path, tmp_path: Path, storage_server: StorageServer) -> None:
    uri = storage_server.uri("models/trips/3")
    storage.copy_folder(str(root / "bad"), uri)
    log = MetricsRecorder()
    evaluation = evaluate(
        str(root / "examples"), str(root / "schema"), str(root / "good"), uri, {}, CONFIG, {},
        str(tmp_path), log, log, str(tmp_path / "page.html"),
    )  # fmt: skip
    assert evaluation.baseline_uri == uri
    assert evaluation.overall.baseline
    assert (evaluation.overall.baseline["auc"] or 1) < 0.3


def test_evaluate_compares_with_the_best_version_that_served(root: Path, tmp_path: Path) -> None:
    served = {"version 2": str(root / "good"), "version 3": str(root / "older"), "version 4": ""}
    evaluation = run(
        root, tmp_path, model="bad", baseline="bad", served=served, thresholds=[{"metric": "auc", "max_drop": 0.1}]
    )
    failed = [check for check in evaluation.verdict.checks if check.outcome == "failed" and check.rule == "max_drop"]
    assert [check.against for check in failed] == ["version 2"]
    (left_out,) = (check.note for check in evaluation.verdict.checks if check.outcome == "not_checked")
    assert "version 3 served before, but it needs tips" in left_out
    assert "version 4 served before, but its files were deleted" in left_out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "version 2" in page
    assert "90 % interval" in page


def test_evaluate_version_in_a_bucket_that_served_is_fetched(
    root: Path, tmp_path: Path, storage_server: StorageServer
) -> None:
    uri = storage_server.uri("models/trips/2")
    storage.copy_folder(str(root / "good"), uri)
    evaluation = run(
        root, tmp_path, model="bad", baseline="bad", served={"version 2": uri},
        thresholds=[{"metric": "auc", "max_drop": 0.1}],
    )  # fmt: skip
    assert "version 2" in {check.against for check in evaluation.verdict.checks}
