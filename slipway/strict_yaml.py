"""YAML that people write: an unknown key, a key given twice or a wrong value is an error with its line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from slipway.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


class _Constructor(SafeConstructor, Resolver):
    """Refuses a key that is given twice, and reads `1e-3`, a string to YAML 1.1, as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)


_Constructor.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class _QuickLoader(Composer, CParser, _Constructor):
    """Parses in C, five times as quick; CParser's own composer would overflow the stack where nesting is deep."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        _Constructor.__init__(self)
        Resolver.__init__(self)


class _TellingLoader(_Constructor, yaml.SafeLoader):
    """Its errors name the character, the alias and the line."""


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
        location, parent = _resolve(model, detail["loc"])
        where, kind, given = dotted(location), detail["type"], detail["input"]
        if kind == "extra_forbidden":
            known = sorted(parent.model_fields) if parent else []
            problem = f"unknown key {where!r}{nearest(str(location[-1]), known)}"
        elif kind == "missing":
            problem = f"{where} is missing"
        elif kind == "literal_error":
            choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            problem = f"{where} is {given!r}{nearest(str(given), choices)}"
        elif kind == "string_type" and not isinstance(given, dict | list):
            problem = f'{where} must be text: write "{given}", in quotes'
        elif kind == "union_tag_not_found":
            problem = f"{where} needs the key {detail['ctx']['discriminator']}, which says what kind it is"
        elif kind == "model_type":
            problem = f"{where}: expected `key: value` lines under it, found {given!r}"
        else:
            value = "" if isinstance(given, dict) else f" (it is {given!r})"
            message = detail["msg"].removeprefix("Value error, ")
            problem = f"{where}: {message}{value}" if where else message
        return str(self.error(location, problem))


def read_yaml(path: Path) -> Document:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: the file cannot be read, is not YAML, is not a mapping, or gives a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Document:
    """The YAML at the beginning of a file; raises as `read_yaml` does."""
    values, root = _load(text, str(path), is_file=True)
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path}:1: expected `key: value` lines, found {type(values).__name__}")
    return Document(path, values or {}, root)


def read_value(text: str, source: str) -> Any:
    """One value as `--set` and variables give it, by the same rules; an error begins with `source`."""
    return _load(text, source, is_file=False)[0]


def _load(text: str, source: str, *, is_file: bool) -> tuple[Any, yaml.Node | None]:
    """The value and its nodes; an error in a file names the line."""
    try:
        try:
            return _construct(_QuickLoader(text))
        except (yaml.YAMLError, UnicodeEncodeError):
            return _construct(_TellingLoader(text))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if is_file and error.problem_mark else ""
        raise ConfigError(f"{source}{line}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such day
        raise ConfigError(f"{source}: not valid YAML: {error}") from error


def _construct(loader: Any) -> tuple[Any, yaml.Node | None]:
    root = loader.get_single_node()
    return None if root is None else loader.construct_object(root, deep=True), root


def one_line(content: Any) -> str:
    """A value as YAML on one line; texts that YAML would read as something else are quoted."""
    content = list(content) if isinstance(content, tuple) else content
    written = yaml.safe_dump(content, default_flow_style=True, allow_unicode=True, width=10**6)
    written = written.removesuffix("...\n").strip()
    return json.dumps(content, ensure_ascii=False) if "\n" in written else written  # JSON is YAML, too


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
        if isinstance(part, str):
            # In a union the part may be the tag that chose one of its members.
            chosen = [c for c in candidates if any(part in get_args(f.annotation) for f in c.model_fields.values())]
            if len(candidates) > 1 and chosen:
                candidates = chosen
                continue
            holder = candidates[0] if candidates else None
            field = holder.model_fields.get(part) if holder else None
            candidates = _models(field.annotation) if field else []
        location.append(part)
    return tuple(location), holder


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in get_args(annotation) for model in _models(argument)]
