"""YAML that people write: an unknown key, a key given twice or a wrong value is an error with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from slipway.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-3` as a string; here it is the number that its author meant."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class Document:
    """A parsed file: its values, and where in the file each of them stands."""

    path: Path
    values: dict[str, Any]
    root: yaml.Node | None

    def parse(self, model: type[Model]) -> Model:
        """The values as a model.

        Raises:
            ConfigError: every unknown key and wrong value, one a line.
        """
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            raise ConfigError("\n".join(self._problem(model, detail) for detail in error.errors())) from error

    def error(self, location: Location, problem: str) -> ConfigError:
        """An error that points at one value."""
        return ConfigError(f"{self.path}:{_line(self.root, location)}: {problem}")

    def _problem(self, model: type[BaseModel], detail: Any) -> str:
        tagged: Location = detail["loc"]
        location, parent = _resolve(model, tagged)
        where = dotted(location)
        if detail["type"] == "extra_forbidden":
            known = sorted(parent.model_fields) if parent else []
            problem = f"unknown key {where!r}{nearest(str(location[-1]), known)}"
        elif detail["type"] == "missing":
            problem = f"{where} is missing"
        elif detail["type"] == "literal_error":
            choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            problem = f"{where} is {detail['input']!r}{nearest(str(detail['input']), choices)}"
        elif detail["type"] == "string_type" and not isinstance(detail["input"], dict | list):
            problem = f'{where} must be text: write "{detail["input"]}", in quotes'
        elif detail["type"] == "union_tag_not_found":
            problem = f"{where} needs the key {detail['ctx']['discriminator']}, which says what kind it is"
        elif detail["type"] == "model_type":
            problem = f"{where}: expected `key: value` lines under it, found {detail['input']!r}"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            value = "" if isinstance(detail["input"], dict) else f" (it is {detail['input']!r})"
            problem = f"{where}: {message}{value}" if where else message
        return str(self.error(location, problem))


def read_yaml(path: Path) -> Document:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: the file cannot be read, is not YAML, is no mapping, or gives a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    values, root = _load(text, str(path), is_file=True)
    values = {} if root is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected `key: value` lines, found {type(values).__name__}")
    return Document(path, values, root)


def read_value(text: str, source: str) -> Any:
    """One value as `--set` and variables give it, by the same rules as in a file.

    Raises:
        ConfigError: it is not YAML, or gives a key twice; the message begins with `source`.
    """
    return _load(text, source, is_file=False)[0]


def _load(text: str, source: str, *, is_file: bool) -> tuple[Any, yaml.Node | None]:
    """The value and its nodes; an error names the line in a file, which a single value has no need of."""

    def at(line: int) -> str:
        return f"{source}:{line}" if is_file else source

    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        _refuse_twice(at, root)
        return (loader.construct_document(root) if root is not None else None), root
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{at(line)}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no such day, or a value that holds itself
        raise ConfigError(f"{source}: not valid YAML: {error}") from error


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean x?`, or nothing where no known name is near."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def nearest(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or else the list of what is known."""
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def dotted(location: Location) -> str:
    """`('thresholds', 2, 'metric')` as `thresholds[2].metric`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _refuse_twice(at: Callable[[int], str], node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            where = at(key.start_mark.line + 1)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{where}: a key must be text, not a list or a mapping")
            if key.value in seen:
                raise ConfigError(f"{where}: the key {key.value!r} is given twice")
            seen.add(key.value)
            _refuse_twice(at, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twice(at, value)


def _line(node: yaml.Node | None, location: Location) -> int:
    """Line of the deepest part of a location that the file has; a missing key's is its parent's."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _resolve(model: type[BaseModel], tagged: Location) -> tuple[Location, type[BaseModel] | None]:
    """The location without pydantic's union tags, and the model that holds its last part."""
    candidates: list[type[BaseModel]] = [model]
    holder: type[BaseModel] | None = model
    location: list[str | int] = []
    for part in tagged:
        if isinstance(part, int):
            location.append(part)
            continue
        if len(candidates) > 1:
            # The part is the tag that chose one member of a union.
            chosen = [c for c in candidates if any(part in get_args(f.annotation) for f in c.model_fields.values())]
            if chosen:
                candidates = chosen
                continue
        holder = candidates[0] if candidates else None
        location.append(part)
        field = holder.model_fields.get(part) if holder else None
        candidates = _models(field.annotation) if field else []
    return tuple(location), holder


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in get_args(annotation) for model in _models(argument)]
