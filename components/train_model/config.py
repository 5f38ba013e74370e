"""What a training is asked, as `module.yaml` and the settings say it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from slipway.module_api import Label, Task, Training


class TrainConfig(BaseModel):
    """The parameter `training` of train_model; `classes` are the label's values in the order of the outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    label: Label
    classes: tuple[str, ...] = ()
    training: Training = Training()
    hyperparameters: dict[str, Any] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Label values in output order, as `ModuleConfig.class_names`."""
        return self.classes or (("false", "true") if self.task == "binary" else ())

    @property
    def outputs(self) -> int:
        """Size of the model's last dimension."""
        return len(self.classes) if self.task == "multiclass" else 1


class DistributionConfig(BaseModel):
    """Distributed training.

    Attributes:
        strategy: Strategy of `tf.distribute`: one device, all GPUs of one machine, or several machines by `TF_CONFIG`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Literal["one_device", "mirrored", "multi_worker"] = "one_device"
