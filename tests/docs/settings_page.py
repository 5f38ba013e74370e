"""The tables of docs/settings.md, from the JSON Schema and the docstrings of the settings' classes.

`python -m tests.docs.settings_page` writes them anew.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from settings import schema
from settings.load import PROJECT
from settings.schema import Settings

PAGE = PROJECT / "docs" / "settings.md"
BEGIN, END = "<!-- begin: python -m tests.docs.settings_page -->\n", "<!-- end -->\n"

Json = dict[str, Any]

_HEAD = "| Setting | Type | Default | Meaning | Variable |\n|---|---|---|---|---|\n"
_KEYS = {"compute": "<task>", "schedules": "<name>"}


class Setting(NamedTuple):
    """One value of the settings: its dotted name, its JSON Schema and what the docstring says of it."""

    key: str
    field: Json
    meaning: str

    @property
    def section(self) -> str:
        """The group that it is in."""
        return self.key.partition(".")[0] if "." in self.key else "General"

    @property
    def variable(self) -> str:
        """What overrides it; schedules have dashes in their names, so one variable holds them all."""
        name = "schedules" if self.section == "schedules" else self.key
        return "SLIPWAY_" + name.upper().replace(".", "__")

    @property
    def row(self) -> str:
        """Its line in the table."""
        default = _literal(self.field["default"]) if "default" in self.field else "must be set"
        cells = [f"`{self.key}`", _type(self.field), default, self.meaning, f"`{self.variable}`"]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def settings_of(model: type[BaseModel]) -> list[Setting]:
    """All settings, in the order of the schema."""
    found = model.model_json_schema()
    return list(_settings(found, found["$defs"], ""))


def tables() -> str:
    """A section for each group of settings, as Markdown."""
    found = Settings.model_json_schema()
    leads = {name: _lead(field, found["$defs"]) for name, field in found["properties"].items()}
    sections: dict[str, str] = {}
    for setting in settings_of(Settings):
        name = setting.section
        title = name if name == "General" else f"`{name}`"
        sections.setdefault(name, f"## {title}\n\n{leads.get(name, '')}{_HEAD}")
        sections[name] += setting.row
    return "\n".join(sections.values())


def _settings(model: Json, known: Json, prefix: str) -> Iterator[Setting]:
    meanings = _read_docstring(model["description"])[1]
    for base in getattr(schema, model["title"], BaseModel).__mro__:  # a subclass describes its own fields only
        meanings = _read_docstring(inspect.cleandoc(base.__doc__ or ""))[1] | meanings
    for name, field in model["properties"].items():
        inner = _model_of(field, known)
        if inner is None:
            yield Setting(prefix + name, field, meanings[name])
        else:
            between = f"{_KEYS[name]}." if name in _KEYS else ""
            yield from _settings(inner, known, f"{prefix}{name}.{between}")


def _model_of(field: Json, known: Json) -> Json | None:
    """The model that a field holds, or whose objects it maps names to."""
    values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
    reference = field.get("$ref") or (values.get("$ref") if isinstance(values, dict) else None)
    found: Json | None = known[reference.rpartition("/")[2]] if reference else None
    return found


def _lead(field: Json, known: Json) -> str:
    model = _model_of(field, known)
    return f"{_read_docstring(model['description'])[0]}\n\n" if model else ""


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """What stands before `Attributes:`, and the entries there."""
    lead, _, listed = text.partition("\nAttributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, flags=re.MULTILINE)
    return lead.strip(), {name: re.sub(r"\s+", " ", meaning) for name, meaning in entries}


def _literal(default: Any) -> str:
    return f"`{default if isinstance(default, str) else json.dumps(default)}`" if default not in ("", None) else "empty"


def _type(field: Json) -> str:
    kind = next((one for one in field.get("anyOf", []) if one["type"] != "null"), field)
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"] if value)
    if "$ref" in kind:
        return "mapping"
    if kind["type"] == "array":
        return f"list of {_type(kind['items'])}"
    if kind["type"] == "object":
        return "mapping"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    limits = ", ".join(f"{sign} {kind[bound]}" for bound, sign in bounds.items() if bound in kind)
    name = {"string": "text", "boolean": "`true`, `false`"}.get(kind["type"], kind["type"])
    return f"{name} {limits}".rstrip()


def page() -> str:
    """The page as it should be: its own words around the tables."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
