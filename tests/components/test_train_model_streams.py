"""An epoch's rows and their order are the same whether the features are in memory or streamed."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.train_model import dataset, features
from components.train_model.config import TrainConfig
from components.train_model.dataset import TrainingData, read_training_data
from components.train_model.features import HeldFeatures, StreamedFeatures
from components.train_model.fitting import fit
from slipway.module_api import Training

ROWS, GROUP = 1_000, 70
SEED = 3
ROW_BYTES = 4 * 2 + 8 + 8 * 3  # what `take` gives of the columns below
SPEC = {
    "numbers": tf.io.FixedLenFeature([2], tf.float32),
    "code": tf.io.FixedLenFeature([], tf.int64),
    "steps": tf.io.FixedLenFeature([3], tf.int64),
}


def write(folder: Path, large: int = 0) -> None:
    """Two files of several row groups; `code` is the number of the row, plus `large`."""
    random = np.random.default_rng(2)
    numbers = random.normal(size=(ROWS, 2)).astype(np.float32)
    table = pa.table({
        "numbers": pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), 2),
        "code": np.arange(ROWS) + large,
        "steps": pa.FixedSizeListArray.from_arrays(pa.array(random.integers(-9, 9, ROWS * 3)), 3),
        "y": (numbers[:, 0] > 0).astype(np.int64),
        "w": random.integers(0, 3, ROWS).astype(np.float64),
    })  # fmt: skip
    (folder / "split=train").mkdir()
    pq.write_table(table.slice(0, 630), folder / "split=train" / "part-0.parquet", row_group_size=GROUP)
    pq.write_table(table.slice(630), folder / "split=train" / "part-1.parquet", row_group_size=GROUP)


def read(folder: Path, monkeypatch: pytest.MonkeyPatch, memory: int) -> TrainingData:
    monkeypatch.setattr(features, "memory_limit", lambda: memory)
    config = {"task": "binary", "label": {"column": "y", "weight": "w"}, "training": {"seed": SEED}}
    return read_training_data(str(folder), SPEC, TrainConfig.model_validate(config))


@pytest.fixture(params=["one window", "several"])
def both(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[TrainingData]:
    """The same rows in memory and streamed."""
    if request.param == "several":
        monkeypatch.setattr(dataset, "WINDOW_BYTES", ROW_BYTES * 2 * GROUP)
    write(tmp_path)
    found = [read(tmp_path, monkeypatch, memory) for memory in (1 << 40, 1 << 10)]
    assert [type(one.features) for one in found] == [HeldFeatures, StreamedFeatures]
    return found


def batches(data: TrainingData, epoch: int, size: int = 64) -> list[Any]:
    return [tf.nest.map_structure(lambda one: one.numpy(), batch)
            for batch in data.training_batches(size, SEED, lambda: epoch)[0]]  # fmt: skip


def rows_of(found: list[Any]) -> list[int]:
    return [int(row) for given, *_ in found for row in given["code"]]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for ours, theirs in zip(one, other, strict=True):
        for mine, its in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its)


def test_batches_are_the_same_in_memory_and_streamed(both: list[TrainingData]) -> None:
    held, streamed = both
    for epoch in (0, 1):
        assert_equal(batches(held, epoch), batches(streamed, epoch))
    of_validation = [[tf.nest.map_structure(lambda one: one.numpy(), batch) for batch in data.validation_batches(16)]
                     for data in both]  # fmt: skip
    assert_equal(*of_validation)
    assert rows_of(of_validation[0]) == held.validation.tolist()


def test_a_batch_has_the_label_and_the_weight_of_its_rows(both: list[TrainingData]) -> None:
    for data in both:
        for given, labels, weights in batches(data, 0):
            rows = given["code"]
            assert given["code"].dtype == given["steps"].dtype == np.int64
            np.testing.assert_array_equal(labels, data.labels[rows])
            np.testing.assert_array_equal(labels, given["numbers"][:, 0] > 0)
            assert data.weights is not None
            np.testing.assert_array_equal(weights, data.weights[rows])


def test_an_epoch_has_each_row_once_and_an_order_of_its_own(both: list[TrainingData]) -> None:
    data = both[1]
    orders = [rows_of(batches(data, epoch, size=1)) for epoch in (0, 1)]
    assert orders[0] != orders[1]
    assert [sorted(order) for order in orders] == [data.train.tolist()] * 2
    assert batches(data, 0)[-1][1].shape == (64,)  # the rest, fewer than a batch, is left out


def test_nothing_is_tuned_whose_thread_outlives_the_epoch(both: list[TrainingData]) -> None:
    for data in both:
        assert data.training_batches(64, SEED, lambda: 0)[0].options().autotune.enabled is False


def test_windows_hold_row_groups_from_all_over_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "WINDOW_BYTES", ROW_BYTES * 2 * GROUP)
    write(tmp_path)
    data = read(tmp_path, monkeypatch, 1 << 10)
    windows = list(data.shuffled(SEED, 0))
    assert len(windows) > 3
    assert max(map(len, windows)) < 3 * GROUP
    for window in windows[:-1]:
        starts = {int(np.searchsorted(data.features.starts, row, side="right")) for row in window}
        assert len(starts) >= 2
        assert np.abs(np.diff(window)).mean() > 20  # shuffled within


def test_rows_of_one_window_are_shuffled_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    data = read(tmp_path, monkeypatch, 1 << 40)
    expected = tf.random.experimental.stateless_shuffle(data.train, seed=[SEED, 4])
    [window] = data.shuffled(SEED, 4)
    np.testing.assert_array_equal(window, expected)


@pytest.mark.parametrize("both", ["several"], indirect=True)
def test_the_model_is_the_same_bit_for_bit(both: list[TrainingData]) -> None:
    weights = []
    for data in both:
        keras.utils.set_random_seed(1)
        inputs = {"numbers": keras.Input((2,), name="numbers"), "code": keras.Input((), dtype="int64", name="code"),
                  "steps": keras.Input((3,), dtype="int64", name="steps")}  # fmt: skip
        steps = keras.layers.Embedding(20, 2)(keras.ops.clip(inputs["steps"] + 9, 0, 19))
        hidden = keras.layers.Concatenate()([inputs["numbers"], keras.layers.Flatten()(steps)])
        hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(8, "relu")(hidden))
        model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
        model.compile("adam", "binary_crossentropy")
        history = fit(model, data, Training(epochs=3, batch_size=32, patience=0, seed=SEED))
        assert [one.epoch for one in history.epochs] == [1, 2, 3]
        weights.append([*model.get_weights(), *(one.loss for one in history.epochs)])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_whole_numbers_are_held_as_int32_where_all_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for large, kept in ((0, np.int32), (1 << 40, np.int64)):
        folder = tmp_path / str(large)
        folder.mkdir()
        write(folder, large)
        data = read(folder, monkeypatch, 1 << 40)
        assert isinstance(data.features, HeldFeatures)
        assert {name: one.dtype for name, one in data.features.arrays.items()} == {
            "numbers": np.float32, "code": kept, "steps": np.int32
        }  # fmt: skip
        assert data.features.take(np.array([7]))["code"].tolist() == [7 + large]
