"""Judges hyperparameters: trains with them, and measures on training rows that were held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.train_model.building import build, check_predictions
from components.train_model.config import TrainConfig
from components.train_model.dataset import Spec, TrainingData, TrainingRows
from components.train_model.fitting import fit
from slipway.errors import TrainingError
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.slices import Slicing
from slipway.tuning.goal import LOSS
from slipway.tuning.halving import is_rung
from slipway.tuning.search import Judged
from slipway.tuning.space import Values

ENOUGH_ROWS, FOLDS = 1_000, 5
BATCH = 8_192


def choose_folds(rows: int, units: int, held_back: float, wanted: int | None) -> int:
    """As many folds as `tuning.folds` says; else one if it holds enough rows, or five.

    No more than there are units, rows or groups, of which each fold needs one.
    """
    return min(units, wanted or (1 if rows * held_back >= ENOUGH_ROWS else FOLDS))


class TrainingJudge:
    """Trains in this process, on rows that were read once; never on the evaluation split."""

    def __init__(
        self, rows: TrainingRows, config: TrainConfig, spec: Spec, model_uri: str, strategy: tf.distribute.Strategy,
        metric: str, folds: int,
    ) -> None:  # fmt: skip
        self._rows, self._config, self._spec, self._model_uri = rows, config, spec, model_uri
        self._strategy, self._metric, self._folds = strategy, metric, folds

    def __call__(
        self, values: Values, seed: int, at_rung: Callable[[int, float], None], check: Callable[[], None]
    ) -> Judged:
        """The metric on each fold; see `slipway.tuning.search.Judge`."""
        config = self._config.given(self._config.training.epochs, seed, "", values.model_dump_json())
        judged = Judged()
        for index in range(self._folds):
            one = self._folds == 1
            data = self._rows.hold_back(config) if one else self._rows.fold(config, index, self._folds)
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            with self._strategy.scope():
                model = build(self._model_uri, self._spec, config)
            check_predictions(model, data, config)

            def measure(model: keras.Model, loss: float, data: TrainingData = data) -> float:
                return loss if self._metric == LOSS else self._measure(model, data, config)

            watch = _Watch(at_rung if index == 0 else None, check, measure, config.training.epochs)
            history = fit(model, data, config.training, watch=watch)
            best = history.epochs[history.best_epoch - 1]
            judged.folds.append(measure(model, best.val_loss))
            judged.epochs.append(history.best_epoch)
        return judged

    def _measure(self, model: keras.Model, data: TrainingData, config: TrainConfig) -> float:
        """The metric on the rows that are held back, weighted as evaluation weights them."""
        rows = data.validation
        batches = np.split(rows, range(BATCH, len(rows), BATCH))
        answers: list[Any] = [
            model({name: values[batch] for name, values in data.features.items()}, training=False) for batch in batches
        ]
        predictions = np.concatenate([np.asarray(answer, np.float32) for answer in answers])
        predictions = predictions[:, 0] if predictions.shape[1] == 1 else predictions
        weights = None if data.weights is None else data.weights[rows].astype(np.float64)
        everything = Slicing((), np.zeros(len(rows), np.int64), [()])
        [measured] = compute_metrics(config.task, data.labels[rows], predictions, [everything], weights)
        value = float(measured[self._metric][0])
        if not np.isfinite(value):
            raise TrainingError(f"{self._metric} is undefined on the {len(rows):,} rows that are held back")
        return value


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Reports the rungs before the last epoch, and asks after each batch whether there is time."""

    def __init__(
        self,
        at_rung: Callable[[int, float], None] | None,
        check: Callable[[], None],
        measure: Callable[[keras.Model, float], float],
        epochs: int,
    ) -> None:
        super().__init__()
        self._at_rung, self._check, self._measure, self._epochs = at_rung, check, measure, epochs

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        done = epoch + 1
        if self._at_rung and done < self._epochs and is_rung(done):
            self._at_rung(done, self._measure(self.model, float((logs or {})["val_loss"])))
