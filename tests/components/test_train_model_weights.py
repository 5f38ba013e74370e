"""Weights of rows and classes, and groups, in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.train_model.config import TrainConfig
from components.train_model.dataset import TrainingData, hold_back_groups, read_training_data, weigh
from components.train_model.features import HeldFeatures
from components.train_model.fitting import Checkpoints, fit
from slipway.errors import DataError
from slipway.module_api import Training

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(60, 3)).astype(np.float32)
WEIGHTS = RANDOM.integers(0, 4, 60).astype(np.float64)
LABELS: dict[str, Any] = {
    "binary": (X[:, 0] > 0).astype(np.float32),
    "multiclass": np.digitize(X[:, 0], [-0.4, 0.4]),
    "regression": X[:, 0],
}


def configure(task: str, weight: bool = True, **training: Any) -> TrainConfig:
    label = {"column": "y", "weight": "w"} if weight else {"column": "y"}
    classes = ["a", "b", "c"] if task == "multiclass" else []
    return TrainConfig.model_validate({"task": task, "label": label, "classes": classes, "training": training})


def trained(task: str, data: TrainingData, folder: Path) -> tuple[list[float], list[float], Any]:
    keras.utils.set_random_seed(1)
    ends = {"binary": (1, "sigmoid"), "multiclass": (3, "softmax"), "regression": (1, None)}
    losses = {"binary": "binary_crossentropy", "multiclass": "sparse_categorical_crossentropy", "regression": "mse"}
    inputs = keras.Input((3,), name="x")
    model = keras.Model({"x": inputs}, keras.layers.Dense(ends[task][0], activation=ends[task][1])(inputs))
    model.compile("adam", losses[task])
    history = fit(model, data, Training(epochs=4, batch_size=1000, patience=0), Checkpoints(str(folder)))
    return [one.loss for one in history.epochs], [one.val_loss for one in history.epochs], model.get_weights()


@pytest.mark.parametrize(
    "task",
    ["binary", pytest.param("multiclass", marks=pytest.mark.slow), pytest.param("regression", marks=pytest.mark.slow)],
)
def test_fit_a_weight_of_2_is_a_row_given_twice(task: str, tmp_path: Path) -> None:
    labels, config = LABELS[task], configure(task)
    train, validation = np.flatnonzero(WEIGHTS[:40]), 40 + np.flatnonzero(WEIGHTS[40:])
    weights = weigh(config, labels, WEIGHTS, train, validation)
    weighted = TrainingData(HeldFeatures({"x": X}), labels, train, validation, weights)
    often = np.repeat(np.arange(60), WEIGHTS.astype(int))
    repeated = TrainingData(HeldFeatures({"x": X}), labels, often[often < 40], often[often >= 40])
    one, other = trained(task, weighted, tmp_path / "one"), trained(task, repeated, tmp_path / "other")
    for ours, theirs in zip(one, other, strict=True):
        for mine, its in zip(ours, theirs, strict=True):
            assert np.asarray(mine) == pytest.approx(np.asarray(its), rel=1e-4, abs=1e-5)
    unweighted = TrainingData(HeldFeatures({"x": X}), labels, train, validation)
    assert trained(task, unweighted, tmp_path / "plain")[1] != pytest.approx(one[1], rel=1e-3)


def test_weigh_balanced_classes_count_alike_in_training_alone() -> None:
    labels = np.array([0, 0, 0, 1, 0, 1], np.float32)
    train, validation = np.arange(4), np.arange(4, 6)
    plain = weigh(configure("binary", weight=False, class_weights="balanced"), labels, None, train, validation)
    assert plain is not None
    assert plain == pytest.approx(np.array([2 / 3, 2 / 3, 2 / 3, 2, 1, 1]))
    heavy = np.array([1.0, 1, 4, 3, 2, 1])
    both = weigh(configure("binary", class_weights="balanced"), labels, heavy, train, validation)
    assert both is not None
    assert both[:3].sum() == pytest.approx(both[3])
    assert both[4:] == pytest.approx(np.array([4 / 3, 2 / 3]))


def test_weigh_named_classes_and_1_for_the_others() -> None:
    labels, rows = np.array([0, 1, 2, 2]), np.arange(3)
    config = configure("multiclass", weight=False, class_weights={"c": 4})
    weights = weigh(config, labels, None, rows, np.array([3]))
    assert weights is not None
    assert weights == pytest.approx(np.array([0.5, 0.5, 2, 1]))
    for name in ("1", "true"):
        config = configure("binary", weight=False, class_weights={name: 3})
        weights = weigh(config, np.array([0.0, 1.0, 1.0]), None, np.arange(2), np.array([2]))
        assert weights is not None
        assert weights == pytest.approx(np.array([0.5, 1.5, 1]))


def test_hold_back_groups_takes_whole_groups_up_to_a_tenth() -> None:
    groups = np.repeat(np.arange(50), RANDOM.integers(1, 9, 50))
    held = hold_back_groups(groups, "customer", 0.1, seed=3)
    assert not set(groups[held]) & set(groups[~held])
    assert 0.07 < held.mean() <= 0.1
    assert (held != hold_back_groups(groups, "customer", 0.1, seed=4)).any()


def test_hold_back_groups_larger_than_a_tenth_are_held_back_one_at_least() -> None:
    held = hold_back_groups(np.array([0, 0, 0, 1, 1]), "customer", 0.1, seed=1)
    assert held.tolist() == [False, False, False, True, True]
    with pytest.raises(DataError, match="1 value of 'customer'"):
        hold_back_groups(np.array([0, 0]), "customer", 0.1, seed=1)


def test_read_training_data_reads_weights_and_groups_that_transform_kept(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf

    def write(weights: list[float | None]) -> None:
        customers = [f"c{n % 20}" for n in range(60)]
        table = pa.table({"x": X[:, 0], "y": LABELS["binary"], "w": weights, "customer": customers})
        pq.write_table(table, tmp_path / "split=train" / "part-0.parquet")

    (tmp_path / "split=train").mkdir()
    write(WEIGHTS.tolist())
    config = TrainConfig.model_validate({**configure("binary").model_dump(), "group": "customer"})
    spec = {"x": tf.io.FixedLenFeature([], tf.float32)}
    data = read_training_data(str(tmp_path), spec, config)
    assert not set(data.train % 20) & set(data.validation % 20)
    assert sorted([*data.train, *data.validation]) == np.flatnonzero(WEIGHTS).tolist()
    assert data.weights is not None
    for rows in (data.train, data.validation):
        assert data.weights[rows] == pytest.approx(WEIGHTS[rows] / WEIGHTS[rows].mean())
    assert len(next(iter(data.validation_batches()))) == 3
    write([None, *WEIGHTS.tolist()[1:]])
    with pytest.raises(DataError, match=r"label\.weight 'w' is missing .* row 1"):
        read_training_data(str(tmp_path), spec, config)
