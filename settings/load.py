"""Reads the settings: base.yaml < <environment>.yaml < SLIPWAY_* variables < --set."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from settings.schema import Settings
from slipway.errors import ConfigError
from slipway.runs.notifications.config import SECRET_ERROR

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parent
_PREFIX = "SLIPWAY_"
# Variables that other parts of the project read; they are no settings.
_NOT_SETTINGS = {"SLIPWAY_ENV", "SLIPWAY_REAL_DATA"}
_NOT_SETTINGS_PREFIX = "SLIPWAY_CONFORMANCE_"  # where the conformance suite finds a server


def load_settings(environment: str | None = None, overrides: Iterable[tuple[str, Any]] = ()) -> Settings:
    """The settings of one environment.

    Args:
        environment: Name of a file beside base.yaml; `SLIPWAY_ENV` if not given; base.yaml alone if neither.
        overrides: Dotted keys and values, from `--set`.

    Raises:
        ConfigError: a file, variable or flag has an unknown key or a wrong value.
    """
    merged = _read(FOLDER / "base.yaml")
    environment = environment or os.environ.get("SLIPWAY_ENV")
    if environment:
        merged = merge(merged, _read(_environment_file(environment)))
    for name, text in sorted(os.environ.items()):
        if _is_setting(name):
            key = name.removeprefix(_PREFIX).lower().replace("__", ".")
            value = _from_variable(name, key, text)
            merged = _checked(merge(merged, nest(key, value)), f"the variable {name}")
    for key, value in overrides:
        merged = _checked(merge(merged, nest(key, value)), f"--set {key}")
    settings = Settings.model_validate(merged)
    return settings.model_copy(update={"home": PROJECT / settings.home, "modules": PROJECT / settings.modules})


def nest(key: str, value: Any) -> dict[str, Any]:
    """`nest("a.b", 1)` is `{"a": {"b": 1}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _from_variable(name: str, key: str, text: str) -> Any:
    # A path stays text, since YAML would read SLIPWAY_HOME=2026 as a number, and is relative to where one stands.
    if key in {"home", "modules"}:
        return str(Path(text).absolute())
    if not text.strip():
        return ""  # which is none in YAML, and "not set" to whoever unsets a variable of CI this way
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}={text!r} is not YAML: {error}") from error


def _environment_file(environment: str) -> Path:
    path = FOLDER / f"{environment}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem != "base")
        raise ConfigError(f"there is no environment {environment!r}: settings/ has {', '.join(known)}")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; settings are a mapping of names to values")
    return _checked(content, str(path))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` names; mappings in both are merged in turn."""
    merged = dict(base)
    for key, value in over.items():
        both_maps = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both_maps else value
    return merged


def _checked(content: dict[str, Any], source: str) -> dict[str, Any]:
    """The content itself, if it would make valid settings; names the source and the nearest key if not."""
    try:
        Settings.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path, known_keys(Settings), n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(Settings.model_fields)}"
            raise ConfigError(f"{source}: unknown setting {path}{hint}") from error
        if problem["type"] == SECRET_ERROR:  # the value may be the secret itself
            raise ConfigError(f"{source}: {path}: {problem['msg']}") from None
        message = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source}: {path} = {problem['input']!r}: {message}") from error
    return content


def known_keys(model: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields of a pydantic model."""
    keys = []
    for name, info in model.model_fields.items():
        keys.append(prefix + name)
        if hasattr(info.annotation, "model_fields"):
            keys += known_keys(info.annotation, f"{prefix}{name}.")
    return keys


def _is_setting(name: str) -> bool:
    return name.startswith(_PREFIX) and not name.startswith(_NOT_SETTINGS_PREFIX) and name not in _NOT_SETTINGS
