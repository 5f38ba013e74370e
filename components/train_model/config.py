"""The parameter `training` of train_model."""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationError

from slipway.errors import ConfigError
from slipway.fields import with_hyperparameters
from slipway.module_api import Hyperparameters, LabelledTask, Training
from slipway.strict_yaml import dotted


class TrainConfig(LabelledTask):
    """What training needs of `module.yaml`; `group` is the column of a split by group."""

    training: Training = Training()
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    group: str = ""

    def given(self, epochs: int, seed: int, hyperparameters: str) -> Self:
        """The configuration with the fields of the form.

        Raises:
            ConfigError: a value is wrong, or there is no hyperparameter of a name.
        """
        content = self.model_dump()
        content["training"] |= {"epochs": int(epochs), "seed": int(seed)}
        content["hyperparameters"] = with_hyperparameters(self.hyperparameters, hyperparameters)
        try:
            return type(self).model_validate(content)
        except ValidationError as error:
            problem = error.errors()[0]
            raise ConfigError(f"{dotted(problem['loc'])} = {problem['input']!r}: {problem['msg']}") from error
