"""`--set key=value`: a key of the settings or of module.yaml, a value in YAML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from settings.load import known_keys, merge, nest, validated
from settings.schema import Settings
from slipway.errors import ConfigError
from slipway.evaluation.config import OF_MODULE, parse_evaluation_config
from slipway.module_api import TUNED_TRAINING, ModuleConfig
from slipway.strict_yaml import did_you_mean, nearest, read_value
from slipway.tuning.goal import goal_of


def parse_pairs(pairs: Iterable[str]) -> list[tuple[str, Any]]:
    """Keys and values of `--set`; a ConfigError if a pair has no `=`, or a value is not YAML."""
    parsed = []
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise ConfigError(f"--set {pair}: give it as key=value, for example --set training.epochs=5")
        parsed.append((key, read_value(text, f"--set {pair}")))
    return parsed


def split_overrides(overrides: Iterable[tuple[str, Any]]) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Overrides of the settings, with dotted keys, and of the module, nested; a ConfigError if neither has a key."""
    for_settings: list[tuple[str, Any]] = []
    for_module: dict[str, Any] = {}
    for key, value in overrides:
        top = key.partition(".")[0]
        if top == "requirements":
            raise ConfigError(
                f"--set {key}: the image of the steps holds what is locked; list them in module.yaml, and run "
                "`slipway module lock MODULE`"
            )
        if top in Settings.model_fields:
            for_settings.append((key, value))
        elif top in ModuleConfig.model_fields:
            for_module = merge(for_module, nest(key, value))
        else:
            known = ", ".join(sorted({*Settings.model_fields, *ModuleConfig.model_fields}))
            hint = did_you_mean(key, [*known_keys(Settings), *known_keys(ModuleConfig)]) or f"; known are {known}"
            raise ConfigError(f"--set {key}: neither the settings nor module.yaml have this key{hint}")
    return for_settings, for_module


def override_module(config: ModuleConfig, overrides: dict[str, Any]) -> ModuleConfig:
    """The module's configuration with the overrides; a ConfigError if it is not valid, or lacks a hyperparameter."""
    hyperparameters = overrides.get("hyperparameters")
    for name in hyperparameters if isinstance(hyperparameters, dict) else ():
        if name not in config.hyperparameters:
            hint = nearest(name, config.hyperparameters) if config.hyperparameters else ""
            raise ConfigError(
                f"--set hyperparameters.{name}: each needs a default in module.yaml, which has none{hint}"
            )
    if "tuning" in overrides and not (config.is_tuned or overrides.get("search_space")):
        raise ConfigError(
            "--set tuning: module.yaml has nothing to search: add search_space to it, or `tuning: {}` and "
            "search_space(trial) to model.py"
        )
    merged = merge(config.model_dump(), overrides)
    # What is given by hand is not searched: it is the only choice, for search_space(trial) of model.py, too.
    training = {name: value for name, value in (overrides.get("training") or {}).items() if name in TUNED_TRAINING}
    given = {**(hyperparameters or {}), **{f"training.{name}": value for name, value in training.items()}}
    left = {name: one for name, one in merged["search_space"].items() if name not in given}
    if config.search_space and not left:
        merged["search_space"], merged["tuning"] = {}, None
    elif config.is_tuned:
        merged["search_space"] = left | {name: {"choices": (value,)} for name, value in given.items()}
    changed = validated(ModuleConfig, merged, lambda _, problem: ConfigError(f"--set of module.yaml: {problem}"))
    if changed.tuning:
        goal_of(changed.task, changed.tuning.metric, changed.tuning.target)
    # Refused here, and not by evaluate_model after the training.
    parse_evaluation_config(changed.model_dump(include=OF_MODULE))
    return changed
