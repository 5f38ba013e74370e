"""Both engines on the same rows: the same numbers, the same verdict."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from slipway.evaluation.results import Evaluation, SliceResult
from slipway.stores.module_store import publish_module
from tests.components.evaluation_models import MetricsRecorder, save_model, write_examples, write_schema
from tests.steps import evaluate
from tests.tiny_module import write_module

pytestmark = [
    pytest.mark.slow,
    # TFMA divides zero by zero where a slice has no positives, and says nothing of it but this.
    pytest.mark.filterwarnings("ignore:(invalid value|divide by zero) encountered:RuntimeWarning"),
]

# TFMA sorts scores into 10,000 bins: those that share one count as a tie, which weighs more the fewer they are.
BINNED = ("auc", "auc_pr")


def judge(root: Path, engine: str, config: dict[str, Any], metrics_uri: str = "") -> Evaluation:
    log = MetricsRecorder()
    return evaluate(
        str(root / "examples"),
        str(root / "schema"),
        str(root / "candidate"),
        str(root / "baseline"),
        {"version 1": str(root / "served")} if (root / "served").exists() else {},
        {**config, "engine": engine},
        {},
        str(root / engine),
        log,
        log,
        str(root / engine / "page.html"),
        metrics_uri=metrics_uri,
    )


def both(root: Path, config: dict[str, Any]) -> tuple[Evaluation, Evaluation]:
    return judge(root, "vectorised", config), judge(root, "tfma", config)


def pairs(one: Evaluation, other: Evaluation) -> Iterator[tuple[SliceResult, SliceResult]]:
    others = {row.name: row for row in [other.overall, *other.slices]}
    rows = [one.overall, *one.slices]
    assert {row.name for row in rows} == others.keys()
    for row in rows:
        yield row, others[row.name]


def tolerance(metric: str, examples: int) -> float:
    if metric not in BINNED:
        return 1e-5
    return 1e-3 if examples >= 1_000 else 5e-3 if examples >= 100 else 0.02


def assert_agree(vectorised: Evaluation, tfma: Evaluation) -> None:
    assert vectorised.examples == tfma.examples
    assert vectorised.unlabelled == tfma.unlabelled
    for ours, theirs in pairs(vectorised, tfma):
        assert ours.examples == theirs.examples
        assert ours.baseline
        assert theirs.baseline
        for mine, its in ((ours.candidate, theirs.candidate), (ours.baseline, theirs.baseline)):
            assert mine.keys() == its.keys()
            for name, value in mine.items():
                about = (ours.name, name, value, its[name])
                if value is None:
                    assert its[name] is None, about
                else:
                    assert its[name] == pytest.approx(value, rel=1e-5, abs=tolerance(name, ours.examples)), about
    assert vectorised.verdict.blessed == tfma.verdict.blessed
    seen = [[(c.metric, c.slice, c.rule, c.outcome, c.examples) for c in e.verdict.checks] for e in (vectorised, tfma)]
    assert sorted(seen[0]) == sorted(seen[1])
    one, other = (
        [(c.value, c.bound) for c in e.verdict.checks if c.rule == "beats_constant"] for e in (vectorised, tfma)
    )
    assert np.array(one) == pytest.approx(np.array(other), rel=1e-6)
    assert vectorised.curves == tfma.curves


def assert_same_drops(vectorised: Evaluation, tfma: Evaluation) -> None:
    drops: list[dict[tuple[str, ...], tuple[float, ...]]] = [
        {
            (check.metric, check.slice, check.against): (check.drop, *(check.interval or ()))
            for check in evaluation.verdict.checks
            if check.drop is not None
        }
        for evaluation in (vectorised, tfma)
    ]
    assert len({against for _, _, against in drops[0]}) == 2
    assert drops[0].keys() == drops[1].keys()
    for key, found in drops[0].items():
        assert found == pytest.approx(drops[1][key], rel=1e-4, abs=1e-5), key


@pytest.fixture(scope="module")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = os.environ.get("SLIPWAY_REAL_DATA")
    if not folder:
        pytest.skip("SLIPWAY_REAL_DATA is not set: the folder that holds chicago_taxi/trips.csv")
    import tensorflow as tf

    trips = pyarrow.csv.read_csv(Path(folder) / "chicago_taxi/trips.csv").slice(0, 3_000)
    tipped = pc.greater(trips["tips"], pc.multiply(trips["fare"], 0.2)).cast(pa.int64())
    trips = trips.append_column("big_tip", pc.if_else(pc.equal(trips["trip_start_day"], 7), None, tipped))
    root = tmp_path_factory.mktemp("taxi")
    inputs = {"payment_type": "BYTES", "fare": "FLOAT", "trip_miles": "FLOAT"}
    write_examples(root / "examples", trips, files=2)
    write_schema(root / "schema", inputs, "big_tip")
    for name, weight in (("candidate", 5.0), ("baseline", 4.0)):

        def predict(payment_type: Any, fare: Any, trip_miles: Any, weight: float = weight) -> Any:
            card = tf.cast(payment_type == "Credit Card", tf.float32)
            fare = tf.where(tf.math.is_nan(fare), 0.0, fare)
            miles = tf.where(tf.math.is_nan(trip_miles), 0.0, trip_miles)
            return tf.sigmoid(weight * card - 4.0 + 0.03 * fare - 0.05 * miles)

        save_model(root / name, inputs, predict)
    return root


def test_engines_real_trips_with_a_baseline_agree(taxi: Path) -> None:
    config = {
        "task": "binary",
        "label": {"column": "big_tip"},
        "slices": [["payment_type"], ["pickup_community_area"]],
        "thresholds": [
            {"metric": "auc", "min": 0.8},
            {"metric": "log_loss", "max": 0.5, "max_drop": 0.05},
            {"metric": "accuracy", "min": 0.8, "slice": ["payment_type"]},
            {"metric": "auc", "min": 0.5, "slice": ["payment_type"]},
        ],
    }
    vectorised, tfma = both(taxi, config)
    assert_agree(vectorised, tfma)
    assert vectorised.unlabelled > 0
    assert not vectorised.verdict.blessed


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_engines_other_tasks_agree(task: str, tmp_path: Path) -> None:
    import tensorflow as tf

    random = np.random.default_rng(5)
    rows = 400
    x, group = random.normal(size=rows), random.choice(["a", "b", "tiny"], rows, p=[0.6, 0.39, 0.01])
    labels = np.digitize(x + 0.5 * random.normal(size=rows), [-0.5, 0.5]) if task == "multiclass" else 100 + 3 * x
    table = pa.table({"x": x, "group": group, "label": labels})
    inputs = {"x": "FLOAT"}
    write_examples(tmp_path / "examples", table)
    write_schema(tmp_path / "schema", inputs, "label")
    for name, slope in (("candidate", 3.0), ("baseline", 1.0), ("served", 2.9)):

        def predict(x: Any, slope: float = slope) -> Any:
            if task == "regression":
                return 100 + slope * x
            return tf.nn.softmax(tf.stack([-slope * x, 0.5 * tf.ones_like(x), slope * x], axis=1))

        save_model(tmp_path / name, inputs, predict)
    good = {"metric": "accuracy", "min": 0.5} if task == "multiclass" else {"metric": "r_squared", "min": 0.9}
    config = {
        "task": task,
        "label": {"column": "label"},
        "classes": ["0", "1", "2"] if task == "multiclass" else [],
        "slices": [["group"], *([["label"]] if task == "multiclass" else [])],
        "thresholds": [
            good,
            {"metric": good["metric"], "max_drop": 0.0},
            {"metric": "log_loss" if task == "multiclass" else good["metric"], "max_drop": 0.02, "slice": ["group"]},
            *([{"metric": "f1", "of_class": "1", "min": 0.1, "slice": ["group"]}] if task == "multiclass" else []),
        ],
    }
    vectorised, tfma = both(tmp_path, config)
    assert_agree(vectorised, tfma)
    assert_same_drops(vectorised, tfma)
    assert vectorised.verdict.blessed == (task == "regression")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_engines_refuse_a_constant_model_alike(task: str, tmp_path: Path) -> None:
    import tensorflow as tf

    label = np.random.default_rng(8).integers(0, 3 if task == "multiclass" else 2, 300)
    write_examples(tmp_path / "examples", pa.table({"x": np.arange(300.0), "label": label}))
    write_schema(tmp_path / "schema", {"x": "FLOAT"}, "label")

    def predict(x: Any) -> Any:
        return tf.fill([tf.shape(x)[0], 3], 1 / 3) if task == "multiclass" else tf.fill([tf.shape(x)[0]], 0.5)

    for name in ("candidate", "baseline"):
        save_model(tmp_path / name, {"x": "FLOAT"}, predict)
    config = {
        "task": task,
        "label": {"column": "label"},
        "classes": ["0", "1", "2"] if task == "multiclass" else [],
        "thresholds": [{"metric": "example_count", "min": 1}],
    }
    vectorised, tfma = both(tmp_path, config)
    assert_agree(vectorised, tfma)
    assert not tfma.verdict.blessed
    assert tfma.verdict.reasons() == vectorised.verdict.reasons()
    assert "no better than a constant model's" in tfma.verdict.reasons()[0]


@pytest.mark.parametrize(("labelled", "sampled"), [(80, None), (400, 100)])
def test_tfma_engine_compares_all_labelled_rows_or_a_sample_of_fixed_size(
    labelled: int, sampled: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from slipway.evaluation.tfma import engine

    monkeypatch.setattr(engine, "SAMPLE_ROWS", 100)
    x = np.random.default_rng(9).normal(size=400)
    label = pa.array(x > 0, mask=np.arange(400) >= labelled)
    write_examples(tmp_path / "examples", pa.table({"x": x, "label": label}), files=4)
    write_schema(tmp_path / "schema", {"x": "FLOAT"}, "label")
    for name in ("candidate", "baseline"):
        save_model(tmp_path / name, {"x": "FLOAT"}, lambda x: tf.sigmoid(x))
    config = {"task": "binary", "label": {"column": "label"}, "thresholds": [{"metric": "auc", "min": 0.9}]}
    evaluation = judge(tmp_path, "tfma", config)
    (check,) = (check for check in evaluation.verdict.checks if check.rule == "beats_constant")
    assert (evaluation.examples, evaluation.curve_examples, check.examples) == (labelled, sampled, sampled or labelled)
    assert evaluation.verdict.blessed


def test_engines_invalid_predictions_and_a_broken_baseline_get_the_same_refusal(tmp_path: Path) -> None:
    import tensorflow as tf

    random = np.random.default_rng(6)
    x, group = random.normal(size=300), random.choice(["a", "b"], 300)
    label = (x + random.normal(size=300) > 0).astype(np.int64)
    inputs = {"x": "FLOAT", "group": "BYTES"}
    write_examples(tmp_path / "examples", pa.table({"x": x, "group": group, "label": label}))
    write_schema(tmp_path / "schema", inputs, "label")
    save_model(tmp_path / "candidate", inputs, lambda x, group: tf.where(group == "b", float("nan"), tf.sigmoid(x)))
    (tmp_path / "baseline").mkdir()
    config = {
        "task": "binary",
        "label": {"column": "label"},
        "slices": [["group"]],
        "thresholds": [{"metric": "auc", "max_drop": 0.0}, {"metric": "auc", "min": 0.6, "slice": ["group"]}],
    }
    vectorised, tfma = both(tmp_path, config)
    assert vectorised.verdict.reasons() == tfma.verdict.reasons()
    assert len(tfma.verdict.reasons()) == 3
    assert tfma.baseline_problem
    for ours, theirs in pairs(vectorised, tfma):
        assert (ours.candidate["auc"] is None) == (theirs.candidate["auc"] is None) == (ours.name != "group=a")


def test_engines_a_weight_of_2_is_a_row_given_twice(tmp_path: Path) -> None:
    """Whose third is of weight 0, and counts nowhere; the module's own metric among the others."""
    import tensorflow as tf

    published = write_own_metrics(tmp_path)
    random, rows = np.random.default_rng(12), 240
    x, weight = random.normal(size=rows), random.integers(0, 4, rows)
    group = random.choice(["a", "b"], rows)
    for task in ("binary", "multiclass", "regression"):
        noisy = x + 0.7 * random.normal(size=rows)
        labels = {"binary": (noisy > 0).astype(int), "multiclass": np.digitize(noisy, [-0.5, 0.5]), "regression": noisy}
        table = pa.table({"x": x, "group": group, "label": labels[task], "w": weight})
        often = pa.array(np.repeat(np.arange(rows), weight))
        config = {
            "task": task,
            "label": {"column": "label", "weight": "w"},
            "classes": ["0", "1", "2"] if task == "multiclass" else [],
            "slices": [["group"]],
            "metrics": {"off": "low"},
            "thresholds": [
                {"metric": "off", "max_drop": 0.5, "max": 5},
                {"metric": "off", "max": 5, "slice": ["group"]},
            ],
        }
        found: dict[tuple[str, str], Evaluation] = {}
        for name, made in (("weighted", table), ("repeated", table.take(often))):
            root = tmp_path / task / name
            write_examples(root / "examples", made, files=2)
            write_schema(root / "schema", {"x": "FLOAT"}, "label")
            for model, slope in (("candidate", 2.0), ("baseline", 1.8)):

                def predict(x: Any, slope: float = slope, task: str = task) -> Any:
                    if task == "regression":
                        return slope * x
                    if task == "binary":
                        return tf.sigmoid(slope * x)
                    return tf.nn.softmax(tf.stack([-slope * x, 0.5 * tf.ones_like(x), slope * x], axis=1))

                save_model(root / model, {"x": "FLOAT"}, predict)
            label = config["label"] if name == "weighted" else {"column": "label"}
            engines = ("vectorised", "tfma") if name == "weighted" else ("vectorised",)
            found |= {(name, one): judge(root, one, {**config, "label": label}, published) for one in engines}
        weighted, repeated = found["weighted", "vectorised"], found["repeated", "vectorised"]
        assert_agree(weighted, found["weighted", "tfma"])
        for ours, theirs in pairs(weighted, repeated):
            assert ours.examples < theirs.examples
            for metric, value in ours.candidate.items():
                if metric != "example_count":
                    assert value == pytest.approx(theirs.candidate[metric], rel=1e-6), (task, metric)
        assert weighted.weight == "w"
        assert weighted.unlabelled == 0
        assert weighted.examples == int((weight > 0).sum())


def write_own_metrics(folder: Path) -> str:
    """A published module with one metric of its own: the weighted mean of absolute errors, or of errors."""
    module = write_module(folder / "own")
    (module / "module.yaml").write_text((module / "module.yaml").read_text() + "metrics: {off: low}\n")
    (module / "metrics.py").write_text(
        "import numpy as np\n\ndef off(labels, predictions, weights):\n"
        "    found = predictions.argmax(axis=1) if predictions.ndim > 1 else predictions\n"
        "    return np.average(np.abs(labels - found), weights=weights)\n"
    )
    return publish_module(module, folder / "published").metrics_uri
