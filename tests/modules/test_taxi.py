from __future__ import annotations

import csv
import os
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from modules.taxi.preprocessing import BUCKETS
from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.data.schema import model_inputs, parse_schema
from slipway.data.tensors import raw_inputs, serialize_examples
from slipway.module_kit.check import check_module
from slipway.module_kit.loader import load_function
from slipway.stores.module_store import publish_module

MODULE = Path(__file__).parents[2] / "modules" / "taxi"
CONFIG = check_module(MODULE)
REAL_DATA = os.environ.get("SLIPWAY_REAL_DATA")


def write_examples(trips: Path, folder: Path) -> None:
    """Two thirds for training, by a hash of the row."""
    for split, condition in (("train", "< 2"), ("eval", "= 2")):
        (folder / f"split={split}").mkdir(parents=True)
        duckdb.execute(
            f"COPY (SELECT *, ({CONFIG.label.expression})::int AS big_tip FROM read_csv('{trips}', sample_size=-1) t "
            f"WHERE hash(t) % 3 {condition}) TO '{folder}/split={split}/part-0.parquet' (FORMAT parquet)"
        )
    counts = {split: pq.read_metadata(folder / f"split={split}" / "part-0.parquet").num_rows
              for split in ("train", "eval")}  # fmt: skip
    rows = RowCounts(read=sum(counts.values()), quarantined=0, **counts)
    manifest = Manifest(source={}, rows=rows, files=[], columns={}, label="big_tip", digest="d")
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")


class Trained:
    """The module trained on trips, by both steps."""

    def __init__(self, trips: Path, folder: Path, module: Path = MODULE) -> None:
        from tests.steps import transform

        self.folder = folder
        self.published = publish_module(module, folder / "published")
        (folder / "schema").mkdir()
        text = (MODULE / "schema.pbtxt").read_text(encoding="utf-8")
        (folder / "schema" / "schema.pbtxt").write_text(text, encoding="utf-8")
        self.features = model_inputs(parse_schema(text))
        write_examples(trips, folder / "examples")
        uri, label = self.published.preprocessing_uri, CONFIG.label.model_dump()
        examples, schema, graph, transformed = self._paths("examples", "schema", "graph", "transformed")
        transform(examples, schema, uri, label, {}, graph, transformed)

    def _paths(self, *names: str) -> list[str]:
        return [str(self.folder / name) for name in names]

    def train(self, seed: int) -> tuple[float, float]:
        """AUC and log loss on the eval split."""
        from serving.predictor import Predictor
        from tests.steps import train

        config = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"seed": seed})})
        parameters = config.model_dump_json(include={"task", "label", "training", "hyperparameters"})
        examples, graph, transformed = self._paths("examples", "graph", "transformed")
        checkpoints, model, log = self._paths("checkpoints", "model", "log")
        uri = self.published.model_uri
        train(examples, graph, transformed, uri, parameters, {}, checkpoints, model, log)
        rows = pq.read_table(self.folder / "examples" / "split=eval")
        self.predictor = Predictor(self.folder / "model")
        predictions = self.predictor.predict(raw_inputs(rows, self.features))
        label = rows["big_tip"].to_numpy()
        return float(roc_auc_score(label, predictions)), float(log_loss(label, predictions))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "trips.csv"
    write = load_function(publish_module(MODULE, path.parent).uri, "sample", "write_sample")
    write(path, rows=6000, seed=3)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_sample_has_the_columns_of_the_schema_and_no_label(sample: Path) -> None:
    schema = parse_schema((MODULE / "schema.pbtxt").read_text(encoding="utf-8"))
    assert set(rows_of(sample)[0]) == {feature.name for feature in schema.feature} - {"big_tip"}


def test_sample_same_seed_gives_the_same_file(sample: Path, tmp_path: Path) -> None:
    write = load_function(publish_module(MODULE, tmp_path).uri, "sample", "write_sample")
    write(tmp_path / "same.csv", rows=6000, seed=3)
    write(tmp_path / "other.csv", rows=6000, seed=4)
    assert (tmp_path / "same.csv").read_bytes() == sample.read_bytes()
    assert (tmp_path / "other.csv").read_bytes() != sample.read_bytes()


def test_sample_looks_like_chicago(sample: Path) -> None:
    rows = rows_of(sample)
    share = {name: np.mean([row[name] == "" for row in rows]) for name in rows[0]}
    assert 0.3 < share["company"] < 0.4
    assert share["pickup_census_tract"] > 0.99
    tips = [float(row["tips"]) > 0.2 * float(row["fare"]) for row in rows]
    assert 0.18 < np.mean(tips) < 0.26
    assert all(row["tips"] == "0.0" for row in rows if row["payment_type"] == "Cash")
    assert 6 < np.median([float(row["fare"]) for row in rows]) < 10


def test_sample_of_later_years_has_higher_fares_and_more_cards(tmp_path: Path) -> None:
    write = load_function(publish_module(MODULE, tmp_path).uri, "sample", "write_sample")
    fares, cards, times = [], [], []
    for year in (2014, 2015, 2016, 2017):
        write(tmp_path / "trips.csv", rows=3000, seed=3, first=f"{year}-01-01", days=365)
        rows = rows_of(tmp_path / "trips.csv")
        fares.append(np.mean([float(row["fare"]) for row in rows]))
        cards.append(np.mean([row["payment_type"] == "Credit Card" for row in rows]))
        times.append({np.datetime64(int(row["trip_start_timestamp"]), "s").astype("M8[Y]").astype(int) for row in rows})
    assert times == [{44}, {45}, {46}, {47}]
    assert [later / earlier for earlier, later in pairwise(fares)] == pytest.approx([1, 1.25, 1.25], rel=1e-3)
    assert all(later > earlier + 0.04 for earlier, later in pairwise(cards))


def test_sample_says_that_it_is_synthetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write = load_function(publish_module(MODULE, tmp_path).uri, "sample", "write_sample")
    write(tmp_path / "trips.csv", rows=10)
    assert "synthetic" in capsys.readouterr().out


def test_taxi_never_sees_the_tip() -> None:
    inputs = {feature.name for feature in model_inputs(parse_schema((MODULE / "schema.pbtxt").read_text()))}
    assert inputs.isdisjoint({"tips", "big_tip"})
    assert "payment_type" in inputs


@pytest.mark.slow
def test_taxi_learns_the_sample(sample: Path, tmp_path: Path) -> None:
    trained = Trained(sample, tmp_path)
    auc, loss = trained.train(seed=1)
    assert auc > 0.93
    assert loss < 0.25

    fares = pq.read_table(tmp_path / "examples" / "split=train")["fare"].to_numpy()
    steps = np.array(pq.read_table(tmp_path / "transformed" / "split=train")["steps"].to_pylist())
    *measured, dollars = steps.T
    assert [column.min() for column in (*measured, dollars)] == [0, 0, 0, 0]
    assert dollars.max() == pytest.approx(BUCKETS - 2, abs=1e-3)  # as many as the model has inputs for
    assert dollars[(fares % 5) < 0.3].max() < 4
    assert dollars[(fares % 5) > 4.7].min() > 14


def test_taxi_learning_rate_falls_to_a_tenth() -> None:
    import keras

    from modules.taxi.model import build_model

    shapes = {"numbers": 4, "steps": 4, "places": 4, "categories": 6, "periods": 3}
    whole = {"places", "categories", "periods"}
    features = {
        name: keras.Input((width,), name=name, dtype="int64" if name in whole else "float32")
        for name, width in shapes.items()
    }
    optimizer = build_model(features, CONFIG.hyperparameters).optimizer
    start = CONFIG.hyperparameters["learning_rate"]
    assert float(optimizer.learning_rate) == pytest.approx(start)
    for batches in (CONFIG.hyperparameters["decay_steps"], 10**6):
        optimizer.iterations.assign(batches)
        assert float(optimizer.learning_rate) == pytest.approx(start / 10)


@pytest.mark.slow
@pytest.mark.skipif(REAL_DATA is None, reason="SLIPWAY_REAL_DATA names no folder with chicago_taxi/trips.csv")
def test_taxi_reaches_its_quality_on_real_trips(tmp_path: Path) -> None:
    trained = Trained(Path(str(REAL_DATA)) / "chicago_taxi" / "trips.csv", tmp_path)
    scores = np.array([trained.train(seed) for seed in (1, 2, 3)])
    assert scores[:, 0].mean() >= 0.95
    assert scores[:, 1].mean() <= 0.21
    assert scores[:, 0].min() >= 0.945
    assert scores[:, 1].max() <= 0.22

    rows = pq.read_table(tmp_path / "examples" / "split=eval")
    examples = np.array(serialize_examples(rows, trained.features), object)
    served = trained.predictor.call("transform_features", {"examples": examples})
    materialised = pq.read_table(tmp_path / "transformed" / "split=eval")
    for name, values in served.items():
        np.testing.assert_array_equal(values, np.array(materialised[name].to_pylist(), values.dtype))
