"""Reads the settings: base.yaml < <environment>.yaml < SLIPWAY_* variables < --set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from settings.schema import Settings
from slipway.errors import ConfigError
from slipway.references import SECRET_ERROR
from slipway.strict_yaml import Location, Model, did_you_mean, dotted, read_value, read_yaml

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent
ENVIRONMENT = "SLIPWAY_ENV"
_PREFIX = "SLIPWAY_"
# Variables that are not settings; all but the first are for tests.
_NOT_SETTINGS = re.compile(rf"{ENVIRONMENT}|SLIPWAY_(REAL_DATA|MLFLOW|DVC|S3_SERVER|REGISTRY|CONFORMANCE_.*)")


def load_settings(environment: str | None = None, overrides: Iterable[tuple[str, Any]] = ()) -> Settings:
    """The settings of one environment, base.yaml alone without a name, with the dotted keys and values of `--set`.

    Raises:
        ConfigError: a file, variable or flag has an unknown key, a key given twice or a wrong value.
    """
    merged = _read("base")
    if environment:
        merged = merge(merged, _read(environment))
    for name, text in sorted(os.environ.items()):
        if name.startswith(_PREFIX) and not _NOT_SETTINGS.fullmatch(name):
            key = name.removeprefix(_PREFIX).lower().replace("__", ".")
            merged = _override(merged, key, _from_variable(name, key, text), f"the variable {name}")
    for key, value in overrides:
        merged = _override(merged, key, value, f"--set {key}")
    settings = Settings.model_validate(merged)
    return settings.model_copy(update={"home": PROJECT / settings.home, "modules": PROJECT / settings.modules})


def nest(key: str, value: Any) -> dict[str, Any]:
    """`nest("a.b", 1)` is `{"a": {"b": 1}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`; mappings in both are merged in turn."""
    merged = dict(base)
    for key, value in over.items():
        both_maps = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both_maps else value
    return merged


def known_keys(model: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields of a pydantic model."""
    keys = []
    for name, info in model.model_fields.items():
        keys.append(prefix + name)
        if hasattr(info.annotation, "model_fields"):
            keys += known_keys(info.annotation, f"{prefix}{name}.")
    return keys


def _from_variable(name: str, key: str, text: str) -> Any:
    # A path stays text, since YAML would read SLIPWAY_HOME=2026 as a number, and is relative to the working directory.
    if key in {"home", "modules"}:
        return str(Path(text).absolute())
    # YAML would make null of an empty text; in CI an empty variable means "not set".
    return read_value(text, f"{name}={text!r}") if text.strip() else ""


def _read(environment: str) -> dict[str, Any]:
    path = FOLDER / f"{environment}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem != "base")
        raise ConfigError(f"there is no environment {environment!r}: settings/ has {', '.join(known)}")
    document = read_yaml(path)
    validated(Settings, document.values, document.error)
    return document.values


def _override(merged: dict[str, Any], key: str, value: Any, source: str) -> dict[str, Any]:
    changed = merge(merged, nest(key, value))
    validated(Settings, changed, lambda _, problem: ConfigError(f"{source}: {problem}"))
    return changed


def validated(model: type[Model], content: dict[str, Any], error_at: Callable[[Location, str], ConfigError]) -> Model:
    """The content as a model; the error names the place of the first problem, and the nearest key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        path = dotted(problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(path, known_keys(model)) or f"; known are {', '.join(model.model_fields)}"
            raise error_at(problem["loc"], f"unknown setting {path}{hint}") from error
        if problem["type"] == SECRET_ERROR:  # the value may be the secret itself
            raise error_at(problem["loc"], f"{path}: {problem['msg']}") from None
        message = problem["msg"].removeprefix("Value error, ")
        raise error_at(problem["loc"], f"{path} = {problem['input']!r}: {message}") from error
