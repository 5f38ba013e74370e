"""The shapes module with its data, and both steps run on it: nothing in Slipway knows only taxis."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.module_kit.config import read_config
from slipway.stores.module_store import PublishedModule, publish_module
from tests.shared_folders import shared_folder

MODULE = Path(__file__).parent / "modules" / "shapes"
SCHEMA = """
feature { name: "words" type: BYTES value_count { min: 0 max: 5 } }
feature { name: "points" type: FLOAT shape { dim { size: 4 } } presence { min_fraction: 1 } }
feature { name: "size" type: FLOAT value_count { min: 1 max: 1 } presence { min_fraction: 0.5 } }
feature { name: "seen_at" type: INT value_count { min: 1 max: 1 } }
feature { name: "shape" type: BYTES not_in_environment: "SERVING" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
NAMES = ("circle", "square", "triangle")
WORDS = (("round", "smooth"), ("corner", "edge", "flat"), ("corner", "sharp"))


def make_rows(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    words = [list(rng.choice(WORDS[label], rng.integers(0, 4))) or None for label in labels]
    points = rng.normal(labels[:, None], 1.0, (rows, 4))
    size = np.where(rng.random(rows) < 0.2, np.nan, rng.exponential(1 + labels))
    return pa.table(
        {
            "words": pa.array(words, pa.list_(pa.string())),
            "points": pa.array(points.tolist(), pa.list_(pa.float64())),
            "size": pa.array(size, from_pandas=True),
            "seen_at": pa.array([None if label == 1 else int(label) for label in labels], pa.int64()),
            "shape": pa.array([NAMES[label] for label in labels]),
        }
    )


def write_examples(folder: Path, splits: dict[str, list[pa.Table]]) -> Path:
    for split in ("train", "eval"):
        (folder / f"split={split}").mkdir(parents=True)
        for number, table in enumerate(splits[split]):
            pq.write_table(table, folder / f"split={split}" / f"part-{number}.parquet", row_group_size=100)
    count = {split: sum(table.num_rows for table in tables) for split, tables in splits.items()}
    rows = RowCounts(read=sum(count.values()), quarantined=0, train=count["train"], eval=count["eval"])
    manifest = Manifest(source={}, rows=rows, files=[], columns={}, label="shape", digest="d")
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder


def write_schema(folder: Path, text: str = SCHEMA) -> Path:
    folder.mkdir(parents=True)
    (folder / "schema.pbtxt").write_text(text, encoding="utf-8")
    return folder


def publish(folder: Path, **replaced: str) -> PublishedModule:
    """Publishes the module below a folder; a keyword replaces a file: `model="…"` for model.py."""
    source = folder / "modules" / "shapes"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(MODULE, source, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in replaced.items():
        (source / f"{name}.py").write_text(text, encoding="utf-8")
    return publish_module(source, folder / "published")


def train_parameters(**training: Any) -> str:
    config = read_config(MODULE)
    changed = config.model_copy(update={"training": config.training.model_copy(update=training)})
    return changed.model_dump_json(include={"task", "label", "classes", "training", "hyperparameters"})


@dataclass(frozen=True)
class Artifacts:
    """Where each artifact of one run is."""

    folder: Path

    @property
    def examples(self) -> str:
        return str(self.folder / "examples")

    @property
    def schema(self) -> str:
        return str(self.folder / "schema")

    @property
    def graph(self) -> str:
        return str(self.folder / "transform_graph")

    @property
    def transformed(self) -> str:
        return str(self.folder / "transformed")

    @property
    def model(self) -> Path:
        return self.folder / "model"


def make_transformed(factory: pytest.TempPathFactory) -> Artifacts:
    """Examples of shapes (600 for training in two files, 300 for evaluation), transformed; a test's own copy."""

    def write(folder: Path) -> None:
        from tests.steps import transform

        made = Artifacts(folder)
        tables = {"train": [make_rows(350, 1), make_rows(250, 2)], "eval": [make_rows(300, 3)]}
        write_examples(folder / "examples", tables)
        write_schema(folder / "schema")
        uri = publish(folder).preprocessing_uri
        transform(made.examples, made.schema, uri, {"column": "shape"}, {}, made.graph, made.transformed)

    written = shared_folder(factory, "transformed_shapes", write)
    return Artifacts(Path(shutil.copytree(written, factory.mktemp("shapes"), dirs_exist_ok=True)))
