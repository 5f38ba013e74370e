"""The fields of a pipeline's form: what a person may change for one run, on a platform's page "Create run".

They are the pipeline's parameters; everything else is fixed when it is compiled for a module and an environment.
"""

from __future__ import annotations

import json
from typing import Any

from slipway.errors import ConfigError
from slipway.strict_yaml import nearest

HYPERPARAMETERS = "hyperparameters"
FIELDS = ("data_uri", "window", "epochs", "seed", HYPERPARAMETERS)
# The field of each key of module.yaml whose value is a number.
KEYS = {"window": "ingestion.window", "epochs": "training.epochs", "seed": "training.seed"}


def with_hyperparameters(defaults: dict[str, Any], text: str) -> dict[str, Any]:
    """Hyperparameters with the values of the field, a JSON object that may leave some out.

    It is text, since kfp makes floats of all numbers in an object.

    Raises:
        ConfigError: it is no JSON object, or names a hyperparameter that the module has not.
    """
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise ConfigError(
            f"hyperparameters = {text!r} is not JSON ({error}); for example {json.dumps(defaults)}"
        ) from error
    if not isinstance(given, dict):
        raise ConfigError(f"hyperparameters = {text!r} is no JSON object; for example {json.dumps(defaults)}")
    for name in given:
        if name not in defaults:
            hint = nearest(name, defaults) if defaults else ""
            raise ConfigError(f"hyperparameters: {name}: each needs a default in module.yaml, which has none{hint}")
    return {**defaults, **given}
