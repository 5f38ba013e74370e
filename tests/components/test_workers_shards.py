"""The shards of several workers: which rows each has, and what it reads of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.train_model import shard, together
from components.train_model.config import TrainConfig
from components.train_model.dataset import read_training_data
from components.train_model.features import HELD_SHARE, HeldFeatures, StreamedFeatures
from components.train_model.shard import read_shard
from slipway.data.examples.dataset import files_of_split
from slipway.errors import DataError, ModuleError
from slipway.remote.s3 import PROBE, PROBE_CONTENT
from slipway.stores import storage
from tests.components.worker_inputs import ALL_ROWS, inputs_of, spec_of
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.storage_server import StorageServer
from tests.shapes import Artifacts, make_transformed, train_parameters


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return make_transformed(tmp_path_factory)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_hold_each_row_once_and_the_rows_back_that_one_worker_would(artifacts: Artifacts, count: int) -> None:
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    whole = read_training_data(artifacts.transformed, spec, config)
    shards = [read_shard(artifacts.transformed, spec, config, index, count) for index in range(count)]
    assert {len(shard.train) for shard in shards} == {ALL_ROWS // count}, "all make as many steps"
    assert {shard.counts for shard in shards} == {whole.counts}
    for rows, part in (("train", ALL_ROWS // count * count), ("validation", 60)):
        wanted = whole.features.take(getattr(whole, rows)[:part])
        found = [shard.features.take(getattr(shard, rows)) for shard in shards]
        for name, values in wanted.items():
            np.testing.assert_array_equal(np.concatenate([one[name] for one in found]), values)
    labels = np.concatenate([shard.labels[shard.validation] for shard in shards])
    np.testing.assert_array_equal(labels, whole.labels[whole.validation])


def test_shard_that_memory_cannot_hold_is_streamed_in_the_same_order(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    held = read_shard(artifacts.transformed, spec, config, 1, 2)
    monkeypatch.setattr("components.train_model.shard.memory_limit", lambda: 1)
    streamed = read_shard(artifacts.transformed, spec, config, 1, 2)
    assert isinstance(streamed.features, StreamedFeatures)
    assert not isinstance(held.features, StreamedFeatures)
    for one, other in zip(
        held.training_batches(32, 3, lambda: 5)[0], streamed.training_batches(32, 3, lambda: 5)[0], strict=True
    ):
        for ours, theirs in zip(tf_leaves(one), tf_leaves(other), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("memory", [1, 1 << 40])
def test_feature_of_a_shard_that_is_not_finite_is_named(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    config = TrainConfig.model_validate_json(train_parameters())
    (tmp_path / "split=train").mkdir()
    for file in files_of_split(artifacts.transformed, "train"):
        table = pq.read_table(file, partitioning=None)
        sizes = pa.array([np.inf] * table.num_rows, pa.float32())
        spoilt = table.set_column(table.column_names.index("size"), "size", sizes)
        pq.write_table(spoilt, tmp_path / "split=train" / file.name)
    monkeypatch.setattr("components.train_model.shard.memory_limit", lambda: memory)
    with pytest.raises(ModuleError, match="'size' with NaN or infinity"):
        read_shard(str(tmp_path), spec_of(artifacts), config, 0, 2)


def tf_leaves(batch: Any) -> list[Any]:
    import tensorflow as tf

    return [one.numpy() for one in tf.nest.flatten(batch)]


def test_shards_have_the_weights_of_all_rows(artifacts: Artifacts) -> None:
    config = TrainConfig.model_validate_json(train_parameters(class_weights="balanced"))
    whole = read_training_data(artifacts.transformed, spec_of(artifacts), config)
    shards = [read_shard(artifacts.transformed, spec_of(artifacts), config, index, 2) for index in range(2)]
    assert whole.weights is not None
    found = [shard.weights[shard.train] for shard in shards if shard.weights is not None]
    np.testing.assert_array_equal(np.concatenate(found), whole.weights[whole.train])


def test_more_workers_than_rows_are_refused(artifacts: Artifacts) -> None:
    config = TrainConfig.model_validate_json(train_parameters())
    with pytest.raises(DataError, match="60 held back are too few for 61 workers"):
        read_shard(artifacts.transformed, spec_of(artifacts), config, 0, 61)


def test_workers_of_one_machine_share_its_memory(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    files = files_of_split(artifacts.transformed, "train")
    own = 300 * StreamedFeatures(files, spec).row_bytes  # of one of two workers: 270 rows and 30 held back
    monkeypatch.setattr(shard, "memory_limit", lambda: 1.5 * own / HELD_SHARE)
    assert isinstance(read_shard(artifacts.transformed, spec, config, 0, 2).features, HeldFeatures)
    assert isinstance(read_shard(artifacts.transformed, spec, config, 0, 2, sharing=2).features, StreamedFeatures)


def test_worker_reads_from_a_bucket_the_parquet_files_alone(
    artifacts: Artifacts, storage_server: StorageServer
) -> None:
    shared = storage_server.uri("transformed")
    storage.copy_folder(artifacts.transformed, shared)
    storage_server.put(f"transformed/split=train/{PROBE}", PROBE_CONTENT)
    config, spec = TrainConfig.model_validate_json(train_parameters()), spec_of(artifacts)
    here, there = (read_shard(folder, spec, config, 0, 2) for folder in (artifacts.transformed, shared))
    assert here.counts == there.counts
    np.testing.assert_array_equal(here.labels, there.labels)


def test_worker_streams_from_its_copy_of_a_bucket_until_it_ends(
    artifacts: Artifacts, tmp_path: Path, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, read = storage_server.uri("transformed"), []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for file in storage.list_files(artifacts.transformed):
        storage.copy(file.uri, storage.join(shared, file.name))
    inputs = inputs_of(artifacts, tmp_path).model_copy(update={"transformed_uri": shared})

    def fit_together(strategy: Any, model: Any, data: Any, *_: Any) -> None:
        assert isinstance(data.features, StreamedFeatures)
        batches, _count = data.training_batches(32, 3, lambda: 0)
        read.extend(batches)
        assert list(tmp_path.glob("slipway-worker-*/rows.parquet")), "it is read in each epoch"

    monkeypatch.setattr(shard, "HELD_SHARE", 0.0)
    monkeypatch.setattr(together, "fit_together", fit_together)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda _: tf.distribute.get_strategy())
    together.train_worker(inputs, 0, ["127.0.0.1:1", "127.0.0.1:2"])
    assert len(read) == ALL_ROWS // 2 // 32
    assert not list(tmp_path.glob("slipway-worker-*"))


ROWS, GROUP, WIDTH = 16_000, 1_000, 64
WIDE = {"numbers": tf.io.FixedLenFeature([WIDTH], tf.float32)}


@pytest.mark.parametrize("streamed", [False, True])
def test_worker_fetches_its_row_groups_and_the_labels_of_all_and_no_more(
    tmp_path: Path, google_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    """Counted in the answers of the store: two workers fetch half of the split each, and once where it is streamed."""
    if streamed:
        monkeypatch.setattr(shard, "HELD_SHARE", 0.0)
    random = np.random.default_rng(1)
    numbers = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    columns = {"numbers": pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), WIDTH)}
    table = pa.table({**columns, "y": random.integers(0, 2, ROWS)})
    sizes = 0
    for number, part in enumerate((table.slice(0, ROWS // 2), table.slice(ROWS // 2))):
        file = tmp_path / f"part-{number}.parquet"
        pq.write_table(part, file, row_group_size=GROUP, use_dictionary=["y"])
        storage.copy(str(file), google_proxy.uri(f"transformed/split=train/{file.name}"))
        sizes += file.stat().st_size
    config = TrainConfig.model_validate({"task": "binary", "label": {"column": "y"}})
    fetched = []
    for index in range(2):
        google_proxy.sent.clear()
        (tmp_path / str(index)).mkdir()
        data = read_shard(google_proxy.uri("transformed"), WIDE, config, index, 2, scratch=tmp_path / str(index))
        for _ in range(2):  # epochs
            for rows in (data.train, data.validation):
                found = data.features.take(rows)["numbers"]
                assert {row.tobytes() for row in found} <= {row.tobytes() for row in numbers}
        fetched.append(google_proxy.sent["GET transformed/split=train/part-0.parquet"]
                       + google_proxy.sent["GET transformed/split=train/part-1.parquet"])  # fmt: skip
    print(f"of {sizes:,} bytes the workers fetched {fetched[0]:,} and {fetched[1]:,}")
    # Of 16 row groups 8, one more where the rows held back begin or end, all labels, and two footers of 64 KiB.
    assert all(one < sizes * 9 / 16 + 3 * (64 << 10) for one in fetched)
    assert sum(fetched) > sizes * 0.9
