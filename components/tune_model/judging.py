"""Judges hyperparameters: trains with them, and measures on training rows that were held back.

docs/decisions/0048-rows-that-choose-an-epoch-do-not-judge-it.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.train_model.building import NONE, Acceleration, build, check_predictions
from components.train_model.config import TrainConfig
from components.train_model.dataset import TrainingRows
from components.train_model.features import Spec
from components.train_model.fitting import fit
from slipway.errors import TrainingError
from slipway.evaluation.metrics import compute_metrics
from slipway.evaluation.slices import Slicing
from slipway.tuning.goal import LOSS
from slipway.tuning.halving import is_rung
from slipway.tuning.judge import Judged
from slipway.tuning.space import Values

ENOUGH_ROWS, FOLDS = 1_000, 5
BATCH = 8_192
HALVES = 2


def choose_folds(rows: int, units: int, held_back: float, wanted: int | None) -> int:
    """As many folds as `tuning.folds` says; else one if it holds enough rows, or five.

    No more than there are units, rows or groups, of which each fold needs one.
    """
    return min(units, wanted or (1 if rows * held_back >= ENOUGH_ROWS else FOLDS))


class TrainingJudge:
    """Trains in this process, on rows that were read once; never on the evaluation split."""

    def __init__(
        self, rows: TrainingRows, config: TrainConfig, spec: Spec, model_uri: str, strategy: tf.distribute.Strategy,
        metric: str, folds: int, acceleration: Acceleration = NONE,
    ) -> None:  # fmt: skip
        self._rows, self._config, self._spec, self._model_uri = rows, config, spec, model_uri
        self._strategy, self._metric, self._folds, self._acceleration = strategy, metric, folds, acceleration

    def __call__(
        self, values: Values, seed: int, at_rung: Callable[[int, float], None], check: Callable[[], None]
    ) -> Judged:
        """The metric on each fold; see `slipway.tuning.judge.Judge`."""
        config = self._config.given(self._config.training.epochs, seed, "", values.model_dump_json())
        judged = Judged()
        for index in range(self._folds):
            one = self._folds == 1
            data = self._rows.hold_back(config) if one else self._rows.fold(config, index, self._folds)
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            with self._strategy.scope():
                model = build(self._model_uri, self._spec, config, self._acceleration)
            held = self._rows.only(data.validation)
            watch = HalvesWatch(held, config, self._metric, check, at_rung if index == 0 else None)
            try:
                check_predictions(model, data, config)
                history = fit(model, data, config.training, watch=watch)
            except tf.errors.OpError as error:  # of these values alone, such as a layer too wide for the memory
                raise TrainingError(f"TensorFlow cannot train with these values: {error.message}") from error
            judged.folds.append(watch.value())
            judged.epochs.append(history.best_epoch)
        return judged


class HalvesWatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measures on rows that are held back, in an epoch that others of them chose.

    Each half chooses the epoch of its least loss, and the other half is measured there. Rungs before the last epoch are
    reported, and after each batch it is asked whether there is time.

    Args:
        held: The rows that are held back. A single row, or group, chooses for itself.
        config: Of the training.
        metric: `val_loss`, or a metric of the task.
        check: Is called after each batch.
        at_rung: Is called with epoch and metric.
    """

    def __init__(
        self,
        held: TrainingRows,
        config: TrainConfig,
        metric: str,
        check: Callable[[], None],
        at_rung: Callable[[int, float], None] | None = None,
    ) -> None:
        super().__init__()
        self._held, self._config, self._metric = held, config, metric
        self._check, self._at_rung = check, at_rung
        count = min(HALVES, held.units)
        halves = [held.fold(config, index, count) for index in range(count)]
        self._batches = [half.validation_batches(BATCH) for half in halves]
        self._rows = [half.validation for half in halves]
        self._least = [np.inf] * count
        self._chosen: list[Any] = [None] * count

    def on_train_batch_end(  # noqa: D102  # Keras's own
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._check()

    def on_epoch_end(  # noqa: D102  # Keras's own
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        losses = [self.model.evaluate(half, verbose=0, return_dict=True)["loss"] for half in self._batches]
        for half, loss in enumerate(losses):
            if loss < self._least[half]:
                self._least[half], other = loss, half - 1
                self._chosen[other] = self._answer(other, losses)
        done = epoch + 1
        if self._at_rung and done < self._config.training.epochs and is_rung(done):
            self._at_rung(done, self._measure([self._answer(half, losses) for half in range(len(losses))]))

    def value(self) -> float:
        """The metric after the training."""
        return self._measure(self._chosen)

    def _answer(self, half: int, losses: list[float]) -> Any:
        """What the metric needs of a half in this epoch: its loss, or the predictions for it."""
        if self._metric == LOSS:
            return losses[half]
        rows = self._rows[half]
        answers = [
            self.model(self._held.features.take(batch), training=False)
            for batch in np.split(rows, range(BATCH, len(rows), BATCH))
        ]
        return np.concatenate([np.asarray(answer, np.float32) for answer in answers])

    def _measure(self, answers: list[Any]) -> float:
        """The metric on all rows that are held back, weighted as evaluation weights them."""
        held, rows = self._held, np.concatenate(self._rows)
        if self._metric == LOSS:
            count = np.ones(len(rows)) if held.weights is None else held.weights
            return float(np.average(answers, weights=[count[half].sum() for half in self._rows]))
        predictions = np.concatenate(answers)
        predictions = predictions[:, 0] if predictions.shape[1] == 1 else predictions
        weights = None if held.weights is None else held.weights[rows]
        everything = Slicing((), np.zeros(len(rows), np.int64), [()])
        [measured] = compute_metrics(self._config.task, held.labels[rows], predictions, [everything], weights)
        value = float(measured[self._metric][0])
        if not np.isfinite(value):
            raise TrainingError(f"{self._metric} is undefined on the {len(rows):,} rows that are held back")
        return value
