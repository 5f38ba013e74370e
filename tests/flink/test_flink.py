"""Both users of Beam on a real Flink cluster, against the in-process runner: `make test-flink`.

`SLIPWAY_FLINK` is the folder of the jars, `SLIPWAY_FLINK_ROWS` how many rows are transformed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.evaluation.results import Evaluation
from slipway.stores.module_store import publish_module
from tests.components.evaluation_models import MetricsRecorder, save_model
from tests.flink.cluster import Cluster, flink_cluster
from tests.steps import evaluate, transform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("SLIPWAY_FLINK" not in os.environ, reason="SLIPWAY_FLINK is not set: see make test-flink"),
]

ROWS = int(os.environ.get("SLIPWAY_FLINK_ROWS", "3_000_000"))
EVAL_ROWS = 50_000
FILES = 6
SCHEMA = """
feature { name: "company" type: BYTES value_count { min: 1 max: 1 } }
feature { name: "fare" type: FLOAT value_count { min: 1 max: 1 } }
feature { name: "miles" type: FLOAT value_count { min: 1 max: 1 } }
feature { name: "tip" type: INT not_in_environment: "SERVING" }
default_environment: "TRAINING" default_environment: "SERVING"
"""
PREPROCESSING = """
import tensorflow_transform as tft
from slipway.module_api import fill_missing

def preprocessing_fn(inputs):
    fare, miles = fill_missing(inputs["fare"], 0.0), fill_missing(inputs["miles"], 0.0)
    return {
        "company": tft.compute_and_apply_vocabulary(fill_missing(inputs["company"], ""), vocab_filename="company"),
        "fare": tft.bucketize(fare, 10),
        "miles": tft.scale_to_z_score(miles),
    }
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    jars, folder = Path(os.environ["SLIPWAY_FLINK"]).absolute(), tmp_path_factory.mktemp("flink")
    with flink_cluster(jars, folder) as cluster:
        [runner] = jars.glob("beam-runners-flink-*.jar")
        overview = cluster.overview()
        print(f"\nFlink {overview['flink-version']}, {overview['taskmanagers']} task managers, {runner.stem}; "
              f"workers of apache-beam {version('apache-beam')}")  # fmt: skip
        yield cluster
    its = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]
    assert not psutil.wait_procs(its, timeout=30)[1]


def rows(count: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    fare, miles = random.lognormal(2.5, 0.8, count).round(2), random.exponential(3, count).round(1)
    companies = np.minimum(random.zipf(1.4, count), 500).astype(str)
    tip = (random.random(count) < 1 / (1 + np.exp(1 - 0.04 * fare + 0.1 * miles))).astype(np.int64)
    missing = random.random(count) < 0.02
    return pa.table({"company": companies, "fare": pa.array(fare, mask=missing), "miles": miles, "tip": tip})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rows")
    for split, count, files, group_rows in (("train", ROWS, FILES, 131_072), ("eval", EVAL_ROWS, 1, 10_000)):
        folder = root / "examples" / f"split={split}"
        folder.mkdir(parents=True)
        for number in range(files):
            path = folder / f"part-{number}.parquet"
            pq.write_table(rows(count // files, number + len(split) * 100), path, row_group_size=group_rows)
    counts = RowCounts(read=ROWS + EVAL_ROWS, quarantined=0, train=ROWS, eval=EVAL_ROWS)
    manifest = Manifest(source={}, rows=counts, files=[], columns={}, label="tip", digest="d")
    (root / "examples" / MANIFEST).write_text(manifest.model_dump_json())
    (root / "schema").mkdir()
    (root / "schema" / "schema.pbtxt").write_text(SCHEMA)
    (root / "trips").mkdir()
    (root / "trips" / "preprocessing.py").write_text(PREPROCESSING)
    (root / "trips" / "model.py").write_text("def build_model(features, hyperparameters): ...\n")
    (root / "trips" / "module.yaml").write_text("contract: 1\ntask: binary\nlabel: {column: tip}\n")
    return root


def on_flink(cluster: Cluster, folder: Path) -> dict[str, str]:
    """The parameter `beam`, as delivery/beam.py makes it."""
    flags = {"job_endpoint": cluster.job_endpoint, "environment_type": "EXTERNAL",
             "environment_config": cluster.worker_pool, "environment_cache_millis": 600_000,
             "temp_location": folder / "temp", "parallelism": 2}  # fmt: skip
    (folder / "flags.json").write_text(json.dumps([f"--{name}={value}" for name, value in flags.items()]))
    return {"runner": "flink", "flags_uri": str(folder / "flags.json")}


def transformed(root: Path, beam: dict[str, str], out: Path) -> float:
    uri = publish_module(root / "trips", root / "published").preprocessing_uri
    began = time.monotonic()
    transform(
        str(root / "examples"),
        str(root / "schema"),
        uri,
        {"column": "tip"},
        beam,
        str(out / "graph"),
        str(out / "rows"),
    )
    return time.monotonic() - began


@pytest.fixture(scope="module")
def reference(root: Path) -> Path:
    print(f"{ROWS:,} rows in process: {transformed(root, {}, root / 'in process'):.0f} s")
    return root / "in process"


def assert_same(one: Path, other: Path) -> None:
    """The same vocabulary, and every value but those beside a bucket's bound: quantiles are sketches."""
    [vocabulary], [its] = ([*(path / "graph/transform_fn/assets").iterdir()] for path in (one, other))
    words = vocabulary.read_bytes()
    assert words == its.read_bytes()
    files = sorted(path.relative_to(one / "rows") for path in (one / "rows").rglob("*.parquet"))
    assert len(files) == FILES + 1
    differing = total = 0
    for file in files:
        left, right = pq.read_table(one / "rows" / file), pq.read_table(other / "rows" / file)
        assert left["tip"].equals(right["tip"])
        assert left["company"].equals(right["company"])
        np.testing.assert_allclose(left["miles"].to_numpy(), right["miles"].to_numpy(), atol=1e-4)
        apart = np.abs(left["fare"].to_numpy() - right["fare"].to_numpy())
        assert apart.max() <= 1
        differing, total = differing + int((apart > 0).sum()), total + len(apart)
    print(f"  the same vocabulary of {len(words.splitlines())} words; {differing:,} of {total:,} rows one bucket off")
    assert differing < 0.005 * total


@pytest.mark.timeout(900)
def test_transform_on_flink_gives_what_the_in_process_runner_gives(
    cluster: Cluster, root: Path, reference: Path, tmp_path: Path
) -> None:
    print(f"{ROWS:,} rows on Flink: {transformed(root, on_flink(cluster, tmp_path), tmp_path):.0f} s")
    assert_same(reference, tmp_path)
    assert set(cluster.jobs()) == {"FINISHED"}


@pytest.mark.timeout(900)
def test_tfma_on_flink_measures_what_both_engines_measure_here(cluster: Cluster, root: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    inputs = {"company": "BYTES", "fare": "FLOAT", "miles": "FLOAT"}

    def predict(company: Any, fare: Any, miles: Any) -> Any:
        known = tf.where(tf.math.is_nan(fare), 12.0, fare)
        return tf.sigmoid(0.04 * known - 0.1 * miles - 1 + 0 * tf.cast(tf.strings.length(company), tf.float32))

    save_model(tmp_path / "model", inputs, predict)
    config = {"task": "binary", "label": {"column": "tip"}, "slices": [["company"]]}

    def judge(engine: str, beam: dict[str, str]) -> Evaluation:
        out, log, began = tmp_path / f"{engine}-{len(beam)}", MetricsRecorder(), time.monotonic()
        found = evaluate(
            str(root / "examples"), str(root / "schema"), str(tmp_path / "model"), "", {},
            {**config, "engine": engine}, beam, str(out), log, log, str(out / "page.html"),
        )  # fmt: skip
        seconds, where = time.monotonic() - began, "on Flink" if beam else "in process"
        auc = found.overall.candidate["auc"]
        print(
            f"{engine} {where}: {found.examples:,} rows in {seconds:.0f} s, {len(found.slices)} slices, AUC {auc:.8f}"
        )
        return found

    here, vectorised = judge("tfma", {}), judge("vectorised", {})
    there = judge("tfma", on_flink(cluster, tmp_path))
    assert there.examples == EVAL_ROWS
    assert there.slices
    for other, tolerance in ((here, 1e-6), (vectorised, 1e-3)):
        assert there.overall.candidate == pytest.approx(other.overall.candidate, abs=tolerance)
        assert {one.name: one.examples for one in there.slices} == {one.name: one.examples for one in other.slices}


@pytest.mark.timeout(900)
def test_task_manager_killed_midway_changes_nothing(
    cluster: Cluster, root: Path, reference: Path, tmp_path: Path
) -> None:
    """Last, since one task manager is left: it is killed when the first of the transformed files is written."""
    killed = threading.Event()

    def kill() -> None:
        while not any((tmp_path / "rows").rglob("*.parquet")):
            if done.wait(0.1):
                return
        cluster.task_managers[0].kill()
        killed.set()

    done = threading.Event()
    watcher = threading.Thread(target=kill)
    watcher.start()
    try:
        seconds = transformed(root, on_flink(cluster, tmp_path), tmp_path)
    finally:
        done.set()
        watcher.join()
    print(
        f"{ROWS:,} rows on Flink, a task manager killed: {seconds:.0f} s, restarted for {', '.join(cluster.restarts())}"
    )
    assert killed.is_set()
    assert cluster.restarts()
    assert cluster.jobs()[-1] == "FINISHED"
    assert_same(reference, tmp_path)
