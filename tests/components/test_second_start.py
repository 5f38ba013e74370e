"""Each step, started twice with the same arguments: a platform may start any step again, retries set or not.

Kubeflow Pipelines 2.17 repeats every step, driver and DAG whose pod is lost (docs/kubeflow.md). The second start comes
after a first that ended, or after one that was killed; what a killed one leaves on the disk is there then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.admit_examples.run import admit
from pipelines.training import TRAINING
from slipway.data.examples.source import read_source
from slipway.data.schema import model_inputs, read_schema
from slipway.data.tensors import raw_inputs
from slipway.data.validation.report import Anomaly, Validation, write_validation
from slipway.errors import AnomalyError
from slipway.lineage import Lineage
from slipway.runs.record import RunContext, Summary
from slipway.stores.model_store import open_store
from tests.components.evaluation_models import MetricsRecorder
from tests.components.ingesting import CONFIG, ROWS
from tests.example_artifacts import write_curated_schema, write_examples
from tests.model_files import provenance, write_model
from tests.served_models import write_examples as write_served_examples
from tests.served_models import write_schema as write_served_schema
from tests.shapes import Artifacts, make_transformed, publish, train_parameters
from tests.steps import compute, evaluate, infer, ingest, train, transform
from tests.steps import find_baseline as resolve_baseline
from tests.steps import resolve as resolve_source
from tests.steps import validate_data as validate_examples
from tests.steps import validate_model as validate_serving

LINEAGE = Lineage(run="taxi-1", module="taxi", module_digest="m", data_uri="d", shows=TRAINING.shows)
COMPONENTS = Path(__file__).parents[2] / "components"
JUDGED = {"task": "binary", "label": {"column": "y"}}
CURATED = 'feature { name: "month" type: INT int_domain { min: 1 max: 12 } } feature { name: "y" type: INT }'


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kill_at(function: str, call: str, *arguments: Any) -> None:
    """Starts a step in a process of its own, which is killed where it would call `function`."""
    code = (
        "import json, os, signal, sys\n"
        "from unittest import mock\n"
        f"import {call.rpartition('.')[0]}\n"
        f"mock.patch('{function}', lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        f"{call}(*json.loads(sys.argv[1]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], cwd=COMPONENTS.parent)
    assert ended.returncode == -9


def test_every_step_is_started_twice_in_one_of_these_files() -> None:
    steps = {path.parent.name for path in COMPONENTS.glob("*/component.py")}
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_second_*.py"))
    assert {step for step in steps if f"def test_{step}_" not in text} == set()


def test_resolve_source_finds_the_same_though_its_run_was_recorded_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text(ROWS)
    asked = (str(tmp_path / "trips.csv"), 1, "taxi", str(tmp_path / "runs"), str(tmp_path / "sources"))
    first = resolve_source(*asked)
    examples = write_examples(tmp_path / "examples", {"y": [1]})
    manifest = json.loads((tmp_path / "examples" / "manifest.json").read_text())
    manifest["source"] = read_source(first[0]).model_dump()
    (tmp_path / "examples" / "manifest.json").write_text(json.dumps(manifest))
    own = Summary(lineage=LINEAGE, state="succeeded", statistics=examples, artifacts={"examples": examples})
    (tmp_path / "runs" / "taxi-1").mkdir(parents=True)
    (tmp_path / "runs" / "taxi-1" / "summary.json").write_text(own.model_dump_json())
    assert resolve_source(*asked) == first


def test_ingest_examples_writes_the_same_after_an_end_and_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text(ROWS + "not,a number,Cab\n" * 2)
    source, _ = resolve_source(str(tmp_path / "trips.csv"), 1, "taxi", "", str(tmp_path / "sources"))
    once, killed = tmp_path / "once", tmp_path / "killed"
    first = ingest(source, CONFIG, "", str(once))
    written = files(once)
    assert ingest(source, CONFIG, "", str(once)) == first
    assert files(once) == written
    kill_at("slipway.stores.storage.write_text", "tests.steps.ingest", source, CONFIG, "", str(killed))
    assert "manifest.json" not in files(killed)
    assert ingest(source, CONFIG, "", str(killed)) == first
    assert files(killed) == written


def test_compute_statistics_writes_the_same(tmp_path: Path) -> None:
    examples = write_examples(tmp_path / "examples", {"x": [1.0, None, 3.0], "y": [0, 1, 1]})
    written = []
    for _ in range(2):
        compute(examples, str(tmp_path / "out" / "statistics"), str(tmp_path / "out" / "page.html"))
        written.append(files(tmp_path / "out"))
    assert written[0] == written[1]


@pytest.mark.parametrize("curated", ["", CURATED])
def test_infer_schema_writes_the_same(tmp_path: Path, curated: str) -> None:
    examples = write_examples(tmp_path / "examples", {"month": [1, 2], "y": [0, 1]})
    compute(examples, str(tmp_path / "statistics"), str(tmp_path / "page.html"))
    written = []
    for _ in range(2):
        infer(
            str(tmp_path / "statistics"),
            {"column": "y"},
            write_curated_schema(tmp_path, curated),
            str(tmp_path / "schema"),
        )
        written.append(files(tmp_path / "schema"))
    assert written[0] == written[1]


def test_validate_examples_writes_the_same_of_bad_data(tmp_path: Path) -> None:
    examples = write_examples(
        tmp_path / "examples", {"month": [1, 13, 13], "y": [0, 1, 1]}, {"month": [2, 2], "y": [0, 1]}
    )
    compute(examples, str(tmp_path / "statistics"), str(tmp_path / "page.html"))
    infer(
        str(tmp_path / "statistics"), {"column": "y"}, write_curated_schema(tmp_path, CURATED), str(tmp_path / "schema")
    )
    written = []
    for _ in range(2):
        validate_examples(examples, str(tmp_path / "statistics"), str(tmp_path / "schema"), "", JUDGED,
                          str(tmp_path / "out" / "anomalies"), str(tmp_path / "out" / "page.html"))  # fmt: skip
        written.append(files(tmp_path / "out"))
    assert written[0] == written[1]


def test_admit_examples_refuses_bad_data_again_in_the_same_words(tmp_path: Path) -> None:
    wrong = Anomaly(feature="month", split="train", severity="ERROR", type="INT_TYPE_BIG_INT", short="Too large",
                    description="Unexpectedly large value: 13", of_rows=9, fix="mend it")  # fmt: skip
    write_validation(Validation(anomalies=[wrong]), str(tmp_path / "anomalies"))
    run = RunContext(uri=str(tmp_path / "run"), lineage=LINEAGE)
    metadata = {"data_digest": "d", "schema_digest": "s"}
    said, written = [], []
    for _ in range(2):
        with pytest.raises(AnomalyError) as caught:
            admit(str(tmp_path / "anomalies"), "gs://bucket/anomalies", metadata, run)
        said.append(str(caught.value))
        written.append(files(tmp_path / "run"))
    assert said[0] == said[1]
    assert written[0] == written[1]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


@pytest.mark.slow
def test_transform_features_writes_the_same_after_an_end_and_after_a_kill(shapes: Artifacts, tmp_path: Path) -> None:
    uri, label = publish(tmp_path).preprocessing_uri, {"column": "shape"}
    once = files(Path(shapes.transformed))
    transform(shapes.examples, shapes.schema, uri, label, {}, shapes.graph, shapes.transformed)
    assert files(Path(shapes.transformed)) == once
    outputs = [str(tmp_path / name) for name in ("graph", "transformed")]
    asked: list[Any] = [shapes.examples, shapes.schema, uri, label, {}, *outputs]
    kill_at("pyarrow.parquet.ParquetWriter.close", "tests.steps.transform", *asked)
    transform(*asked)
    assert files(tmp_path / "transformed") == once
    assert files(tmp_path / "graph").keys() == files(Path(shapes.graph)).keys()


@pytest.mark.slow
def test_train_model_ends_with_the_same_model_and_each_curve_once(shapes: Artifacts, tmp_path: Path) -> None:
    """How it goes on after a kill: `test_train_killed_resumes_and_ends_as_if_it_had_not_been`."""
    from serving.predictor import Predictor

    rows, features = pq.read_table(f"{shapes.examples}/split=eval"), model_inputs(read_schema(shapes.schema))
    answers, losses, names = [], [], []
    for _ in range(2):
        history = train(
            shapes.examples, shapes.graph, shapes.transformed, publish(tmp_path).model_uri,
            train_parameters(epochs=2), {}, str(tmp_path / "checkpoints"), str(tmp_path / "model"),
            str(tmp_path / "log"),
        )  # fmt: skip
        answers.append(Predictor(tmp_path / "model").predict(raw_inputs(rows, features)))
        losses.append([epoch.val_loss for epoch in history.epochs])
        names.append(files(tmp_path / "model").keys())
        assert len(list((tmp_path / "log" / "tensorboard").glob("events.*"))) == 1
    np.testing.assert_array_equal(answers[0], answers[1])
    assert losses[0] == losses[1]
    assert names[0] == names[1]


def test_resolve_baseline_is_the_same_after_the_run_pushed_its_own_model(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    before = store.push(write_model(tmp_path / "before", 1), provenance()).version
    asked = (str(write_model(tmp_path / "candidate", 2)), str(tmp_path / "store"), "taxi")
    assert resolve_baseline(*asked) == before.uri
    own = store.push(tmp_path / "candidate", provenance()).version
    store.promote("taxi", own.number)
    assert resolve_baseline(*asked) == before.uri


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[str, str, str]:
    """Examples, schema and a model that fits them."""
    folder = tmp_path_factory.mktemp("served")
    examples, schema = write_served_examples(folder / "examples"), write_served_schema(folder / "schema")
    return str(examples), str(schema), str(tiny_model)


def test_evaluate_model_judges_the_same(served: tuple[str, str, str], tmp_path: Path) -> None:
    config = {"task": "binary", "label": {"column": "label"}, "slices": [["town"]]}
    written, logged = [], []
    for _ in range(2):
        log = MetricsRecorder()
        evaluate(*served, "", {}, config, {}, str(tmp_path / "out"), log, log, str(tmp_path / "out" / "page.html"))
        logged.append(vars(log))
        written.append(files(tmp_path / "out"))
    assert logged[0] == logged[1]
    assert written[0] == written[1]


def test_validate_serving_judges_the_same(served: tuple[str, str, str], tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        validate_serving(*served, str(tmp_path / "out"))
        written.append(files(tmp_path / "out"))
    assert written[0] == written[1]
