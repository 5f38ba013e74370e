from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from slipway.module_parts.linear_steps import count_steps, linear_steps

ROWS, BUCKETS = 2000, 8
NORMAL, SPIKE, MISSING, FEW, MOMENTS = range(5)


@pytest.fixture(scope="module")
def numbers() -> NDArray[np.float64]:
    chance = np.random.default_rng(0)
    return np.stack(
        [
            chance.normal(size=ROWS),
            np.where(chance.random(ROWS) < 0.9, 0, chance.integers(1, 10_000, ROWS)),
            np.full(ROWS, np.nan),
            chance.integers(2020, 2022, ROWS),
            np.where(chance.random(ROWS) < 0.5, np.nan, 1.6e12 + chance.integers(0, 10**10, ROWS)),
        ],
        axis=1,
    )


@pytest.fixture(scope="module")
def steps(numbers: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    return transformed(numbers, tmp_path_factory.mktemp("beam"))


def transformed(numbers: NDArray[np.float64], scratch: Path) -> NDArray[np.float32]:
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata

    def preprocess(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"steps": linear_steps(tf.strings.to_number(inputs["numbers"], tf.float64), BUCKETS)}

    # As texts, since TensorFlow Transform reads no float64.
    spec = {"numbers": tf.io.FixedLenFeature([numbers.shape[1]], tf.string)}
    rows = [{"numbers": np.array([repr(float(value)).encode() for value in row])} for row in numbers]
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(spec)
    with tft_beam.Context(temp_dir=str(scratch)):
        (found, _), _ = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(preprocess)
    return np.stack([row["steps"] for row in found])


def test_linear_steps_rise_with_the_number(numbers: NDArray[Any], steps: NDArray[Any]) -> None:
    for column in (NORMAL, SPIKE, FEW, MOMENTS):
        known = ~np.isnan(numbers[:, column])
        order = np.argsort(numbers[known, column], kind="stable")
        assert (np.diff(steps[known, column][order]) >= -1e-5).all(), column
    assert steps.min() >= 0
    assert steps.max() <= count_steps(BUCKETS)


def test_linear_steps_are_of_equal_numbers_of_rows(steps: NDArray[Any]) -> None:
    shares = np.histogram(steps[:, NORMAL], bins=np.arange(BUCKETS + 1))[0] / ROWS
    np.testing.assert_allclose(shares, 1 / BUCKETS, atol=0.05)


def test_linear_steps_divide_the_rows_beside_a_frequent_value(numbers: NDArray[Any], steps: NDArray[Any]) -> None:
    others = steps[numbers[:, SPIKE] > 0, SPIKE]
    assert len(np.unique(np.floor(others))) >= BUCKETS - 1
    assert steps[numbers[:, SPIKE] == 0, SPIKE].max() < others.min()


def test_linear_steps_tell_moments_in_milliseconds_apart(numbers: NDArray[Any], steps: NDArray[Any]) -> None:
    known = ~np.isnan(numbers[:, MOMENTS])
    assert len(np.unique(steps[known, MOMENTS])) > 0.9 * known.sum()


def test_linear_steps_of_missing_numbers_are_none(numbers: NDArray[Any], steps: NDArray[Any]) -> None:
    assert (steps[np.isnan(numbers)] == 0).all()
