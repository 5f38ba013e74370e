"""Writes the files of a new module."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slipway.errors import ConfigError, ModuleError
from slipway.module_kit.check import check_module
from slipway.module_kit.scaffold.plan import Plan
from slipway.stores.module_store import NAME
from slipway.strict_yaml import one_line

FILES = ("module.yaml", "preprocessing.py", "model.py", "schema.pbtxt")


def require_new(folder: Path) -> None:
    """Raises a ConfigError for a name that cannot be a module's, or is taken."""
    if not NAME.fullmatch(folder.name):
        raise ConfigError(f"{folder.name!r} cannot name a module: use lower-case letters, digits and _")
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another name, or remove it")


def write_module(plan: Plan, folder: Path) -> list[Path]:
    """Writes a module that trains as it is, whole or not at all; returns its files. ConfigError if it exists."""
    require_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as beside:
        draft = Path(beside) / folder.name
        draft.mkdir()
        for name in FILES:
            (draft / name).write_text(_render(name, plan), encoding="utf-8")
        try:
            check_module(draft)
        except (ConfigError, ModuleError) as error:
            raise ModuleError(f"the scaffold of {plan.name} breaks the contract, which is a bug: {error}") from error
        draft.rename(folder)
    return [folder / name for name in FILES]


def _render(name: str, plan: Plan) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # No HTML: values are quoted by the filters below.
    environment = Environment(  # noqa: S701
        loader=PackageLoader("slipway.module_kit.scaffold", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["python"] = _python
    environment.filters["yaml"] = one_line
    environment.filters["comment"] = _comment
    return environment.get_template(f"{name}.j2").render(
        asdict(plan)
        | asdict(plan.size)
        | {
            "has_numbers": plan.has_numbers,
            "has_categories": plan.has_categories,
            "rare": plan.rare,
            "words": plan.words,
            "ingestion": plan.ingestion.model_dump(mode="json", exclude_defaults=True, exclude={"ignore"}),
        }
    )


def _python(value: Any) -> str:
    """A literal with double quotes, as formatters write it."""
    if isinstance(value, tuple):
        inner = "".join(f"    {_python(item)},\n" for item in value)
        return f"(\n{inner})" if value else "()"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _comment(text: str) -> str:
    """A text behind `#`: a column's name may have line breaks in it."""
    return " ".join(text.split())
