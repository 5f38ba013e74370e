"""The search space: from what the tuner draws, and the values of one draw."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from slipway.errors import ModuleError
from slipway.module_api import TUNED_TRAINING, Searched

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

FUNCTION = "search_space"
_TRAINING = "training."


class Values(BaseModel):
    """What the tuner gives to a model: hyperparameters, and keys of `training`."""

    hyperparameters: dict[str, Any] = {}
    training: dict[str, int] = {}

    def without(self, names: Collection[str]) -> Values:
        """The values of the other names."""
        return Values.of({name: value for name, value in self.flat().items() if name not in names})

    def unlike(self, other: Values) -> list[str]:
        """The names to which the other gives another value, or none."""
        others = other.flat()
        return [name for name, value in self.flat().items() if name not in others or others[name] != value]

    def flat(self) -> dict[str, Any]:
        """By the names of a search space: `hidden`, `training.epochs`."""
        return self.hyperparameters | {f"{_TRAINING}{name}": value for name, value in self.training.items()}

    @classmethod
    def of(cls, flat: Mapping[str, Any]) -> Values:
        """The reverse of `flat`."""
        training = {name.removeprefix(_TRAINING): value for name, value in flat.items() if name.startswith(_TRAINING)}
        return cls(hyperparameters={name: value for name, value in flat.items() if _rest(name)}, training=training)


class Space:
    """`search_space` of module.yaml, and the function of that name in model.py, if there is one."""

    def __init__(self, searched: Mapping[str, Searched], function: Callable[[Any], Any] | None = None) -> None:
        self.searched, self._function = searched, function

    def draw(self, trial: BaseTrial) -> Values:
        """One point of the space. Where module.yaml and the function give the same name, module.yaml's value counts.

        Raises:
            ModuleError: the function fails, or answers something else than hyperparameters.
        """
        flat = {name: _draw(trial, name, one) for name, one in self.searched.items()}
        if self._function is not None:
            own = self._function(trial)
            try:
                drawn = json.loads(json.dumps(own, allow_nan=False)).items()
                return Values.of({str(name): value for name, value in drawn} | flat)
            except (TypeError, ValueError, AttributeError) as error:
                raise ModuleError(
                    f"model.py: {FUNCTION} returns a dict of hyperparameters that JSON can hold, not {own!r}"
                ) from error
        return Values.of(flat)

    def parameters(self, own: Values) -> dict[str, Any]:
        """The draw that gives these values, as far as they lie in the space."""
        flat, found = own.flat(), {**own.hyperparameters}
        for name, one in self.searched.items():
            value = found.pop(name, flat.get(name))
            if one.choices:
                found |= {name: one.choices.index(value)} if len(one.choices) > 1 and value in one.choices else {}
            elif one.length and isinstance(value, list):
                found |= {f"{name}.length": len(value)} | {f"{name}.{index}": item for index, item in enumerate(value)}
            else:
                found[name] = value
        return {name: value for name, value in found.items() if isinstance(value, int | float | str)}


def _rest(name: str) -> bool:
    if name.startswith(_TRAINING) and name.removeprefix(_TRAINING) not in TUNED_TRAINING:
        raise ValueError(f"{name}: of training only {', '.join(TUNED_TRAINING)} can be tuned")
    return not name.startswith(_TRAINING)


def _draw(trial: BaseTrial, name: str, one: Searched) -> Any:
    if len(one.choices) == 1:  # not drawn, so that a function in model.py may draw under the same name
        return one.choices[0]
    if one.choices:  # by index, since Optuna's categories cannot be lists
        return one.choices[trial.suggest_categorical(name, range(len(one.choices)))]
    if one.length:
        length = trial.suggest_int(f"{name}.length", *one.length)
        return [_number(trial, f"{name}.{index}", one) for index in range(length)]
    return _number(trial, name, one)


def _number(trial: BaseTrial, name: str, one: Searched) -> int | float:
    assert one.min is not None
    assert one.max is not None
    if one.whole:
        return trial.suggest_int(name, int(one.min), int(one.max), step=int(one.step or 1), log=one.log)
    return trial.suggest_float(name, one.min, one.max, step=one.step, log=one.log)
