"""`--set key=value`: a key of the settings or of module.yaml, a value in YAML."""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from settings.load import known_keys, merge, nest
from settings.schema import Settings
from slipway.errors import ConfigError
from slipway.evaluation.config import parse_evaluation_config
from slipway.module_api import ModuleConfig


def split_overrides(pairs: list[str]) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """What `--set` says of the settings, as dotted keys, and of the module, nested.

    Raises:
        ConfigError: a pair has no `=`, a value is not YAML, or neither knows the key.
    """
    for_settings: list[tuple[str, Any]] = []
    for_module: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise ConfigError(f"--set {pair}: give it as key=value, for example --set training.epochs=5")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair}: the value is not YAML: {error}") from error
        top = key.partition(".")[0]
        if top in Settings.model_fields:
            for_settings.append((key, value))
        elif top in ModuleConfig.model_fields:
            for_module = merge(for_module, nest(key, value))
        else:
            near = difflib.get_close_matches(key, [*known_keys(Settings), *known_keys(ModuleConfig)], n=1)
            known = ", ".join(sorted({*Settings.model_fields, *ModuleConfig.model_fields}))
            hint = f"; did you mean {near[0]}?" if near else f"; known are {known}"
            raise ConfigError(f"--set {pair}: neither the settings nor module.yaml know {key}{hint}")
    return for_settings, for_module


def override_module(config: ModuleConfig, overrides: dict[str, Any]) -> ModuleConfig:
    """The module's configuration with what `--set` changes.

    Raises:
        ConfigError: the result is not a valid configuration.
    """
    from pydantic import ValidationError

    try:
        changed = ModuleConfig.model_validate(merge(config.model_dump(), overrides))
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path, known_keys(ModuleConfig), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--set {path}: module.yaml knows no such key{hint}") from error
        raise ConfigError(f"--set {path}={problem['input']}: {problem['msg']}") from error
    # What evaluate_model would refuse only after the training.
    parse_evaluation_config(changed.model_dump(include={"task", "label", "classes", "slices", "thresholds"}))
    return changed
