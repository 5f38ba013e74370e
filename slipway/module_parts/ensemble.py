"""Several small networks as one Keras model, for `build_model`: their mean is better than each, and steadier."""

from __future__ import annotations

from typing import Any

import keras


class Ensemble(keras.Model):  # type: ignore[misc]  # Keras has no types
    """The mean of its members, `[batch, outputs]`.

    Each member learns from its own error, as if it were alone: members that share one error come to depend on each
    other. Early stopping sees the error of the mean.

    Args:
        inputs: Of a functional model.
        each: What the members answer, `[batch, members, outputs]`.
    """

    def __init__(self, inputs: Any, each: keras.KerasTensor) -> None:
        super().__init__(inputs, keras.layers.GlobalAveragePooling1D()(each))
        self._each = keras.Model(inputs, each)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The mean; in training, what each member answers, so that one pass serves loss and metrics."""
        each = self._each(inputs, training=training, mask=mask)
        return each if training else keras.ops.mean(each, axis=1)

    def compute_loss(  # noqa: D102  # Keras's own
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        answers = keras.ops.unstack(y_pred, axis=1)
        losses = [super(Ensemble, self).compute_loss(x, y, one, sample_weight, training) for one in answers]
        return sum(losses) / len(losses)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, float]:  # noqa: D102
        if len(y_pred.shape) == 3:  # of a training step
            y_pred = keras.ops.mean(y_pred, axis=1)
        found: dict[str, float] = super().compute_metrics(x, y, y_pred, sample_weight)
        return found


def dense_of_each(members: int, units: int, activation: str | None = None) -> keras.layers.Layer:
    """A dense layer of each member: from `[batch, members, any]` to `[batch, members, units]`."""
    return keras.layers.EinsumDense(
        "bmi,mio->bmo",
        (members, units),
        activation=activation,
        bias_axes="mo",
        # Glorot's of one member; Keras would take them all for one layer, and start with smaller weights.
        kernel_initializer=keras.initializers.VarianceScaling(members, "fan_avg", "uniform"),
    )


def pass_steps(steps: keras.KerasTensor, count: int) -> keras.KerasTensor:
    """What `linear_steps` counts, `[batch, columns]`, as an input a step: `[batch, columns * count]`."""
    passed = keras.ops.expand_dims(steps, 2) - keras.ops.arange(count, dtype="float32")
    return keras.layers.Flatten()(keras.ops.clip(passed, 0, 1))
