"""The parameter `training` of train_model."""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationError

from slipway.errors import ConfigError
from slipway.fields import with_hyperparameters
from slipway.module_api import Hyperparameters, LabelledTask, Training
from slipway.strict_yaml import dotted
from slipway.tuning.space import Values


class TrainConfig(LabelledTask):
    """What training needs of `module.yaml`; `group` is the column of a split by group."""

    training: Training = Training()
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    group: str = ""

    def given(self, epochs: int, seed: int, hyperparameters: str, tuned: str = "") -> Self:
        """The configuration with the fields of the form, and then with what was tuned: JSON of a `Values`.

        Raises:
            ConfigError: a value is wrong, or there is no hyperparameter of a name.
        """
        content = self.model_dump()
        content["training"] |= {"epochs": int(epochs), "seed": int(seed)}
        content["hyperparameters"] = with_hyperparameters(self.hyperparameters, hyperparameters)
        winner = Values.model_validate_json(tuned) if tuned else Values()
        content["training"] |= winner.training
        content["hyperparameters"] |= winner.hyperparameters
        try:
            return type(self).model_validate(content)
        except ValidationError as error:
            problem = error.errors()[0]
            raise ConfigError(f"{dotted(problem['loc'])} = {problem['input']!r}: {problem['msg']}") from error
