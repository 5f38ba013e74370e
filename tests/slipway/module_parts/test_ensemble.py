from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from slipway.module_parts.ensemble import Ensemble, dense_of_each, pass_steps

INPUTS = np.random.default_rng(1).normal(size=(64, 3)).astype(np.float32)
LABELS = (INPUTS[:, :1] > 0).astype(np.float32)


def built(members: int = 3) -> Any:
    keras.utils.set_random_seed(1)
    features = {"numbers": keras.Input((3,), name="numbers")}
    each = keras.layers.RepeatVector(members)(features["numbers"])
    each = dense_of_each(members, 4, "relu")(each)
    model = Ensemble(features, dense_of_each(members, 1, "sigmoid")(each))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="binary_crossentropy")
    return model


def weights_of(model: Any, member: int) -> list[Any]:
    return [weight[member] for weight in model.get_weights()]


def test_ensemble_answers_the_mean_of_its_members() -> None:
    model = built()
    first, first_bias, last, last_bias = model.get_weights()
    each = [
        1 / (1 + np.exp(-(np.maximum(INPUTS @ first[i] + first_bias[i], 0) @ last[i] + last_bias[i]))) for i in range(3)
    ]
    np.testing.assert_allclose(model({"numbers": INPUTS}), np.mean(each, axis=0), rtol=1e-4)
    assert model.output_shape == (None, 1)
    assert model.count_params() == 3 * (3 * 4 + 4 + 4 + 1)


def test_ensemble_member_learns_as_if_it_were_alone() -> None:
    together, changed = built(), built()
    changed.set_weights([np.concatenate([weight[:1], 2 * weight[1:]]) for weight in changed.get_weights()])
    for model in (together, changed):
        model.fit({"numbers": INPUTS}, LABELS, batch_size=64, shuffle=False, verbose=0)
    for one, other, start in zip(*(weights_of(model, 0) for model in (together, changed, built())), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert not np.allclose(one, start)


def test_ensemble_is_stopped_by_the_error_of_the_mean() -> None:
    model = built()
    wanted = keras.losses.binary_crossentropy(LABELS, model({"numbers": INPUTS})).numpy().mean()
    assert model.evaluate({"numbers": INPUTS}, LABELS, verbose=0) == pytest.approx(wanted, rel=1e-4)


def test_ensemble_computes_its_members_once_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built()
    each = Mock(wraps=model._each.call)
    monkeypatch.setattr(model._each, "call", each)
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["auc"], run_eagerly=True)
    model.train_on_batch({"numbers": INPUTS}, LABELS)
    assert each.call_count == 1


def test_ensemble_weighs_rows() -> None:
    model = built()
    weights = np.where(np.arange(64) < 32, 2.0, 0.0).astype(np.float32)
    loss = model.train_on_batch({"numbers": INPUTS}, LABELS, sample_weight=weights)
    assert loss == pytest.approx(built().train_on_batch({"numbers": INPUTS[:32]}, LABELS[:32]), rel=1e-4)


def test_ensemble_is_saved_without_python(tmp_path: Path) -> None:
    model = built()
    served = tf.Module()
    served.model = model
    served.answer = tf.function(lambda numbers: model({"numbers": numbers}), [tf.TensorSpec((None, 3))])
    tf.saved_model.save(served, str(tmp_path), signatures={"serving_default": served.answer})
    answers = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](numbers=tf.constant(INPUTS))
    np.testing.assert_allclose(next(iter(answers.values())), model({"numbers": INPUTS}), rtol=1e-6)


def test_pass_steps_fills_the_steps_in_their_order() -> None:
    steps = keras.Input((2,))
    model = keras.Model(steps, pass_steps(steps, 3))
    np.testing.assert_allclose(
        model(np.array([[0.0, 1.25], [3.0, 0.5]])), [[0, 0, 0, 1, 0.25, 0], [1, 1, 1, 0.5, 0, 0]]
    )
