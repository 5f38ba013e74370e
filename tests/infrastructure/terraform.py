"""infrastructure/ as python-hcl2 reads it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

PROJECT = Path(__file__).parent.parent.parent
FOLDER = PROJECT / "infrastructure"
FILES = sorted(FOLDER.glob("*.tf"))

_OPTIONS = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)


@cache
def parsed(path: Path) -> dict[str, Any]:
    """One file: kind of block to a list of blocks."""
    with path.open(encoding="utf-8") as file:
        content: dict[str, Any] = hcl2.load(file, serialization_options=_OPTIONS)
    return content


@cache
def code() -> str:
    """All files without their comments."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    return re.sub(r"(^|\s)#.*", "", text)


def resources() -> dict[str, dict[str, Any]]:
    """`type.name` to the arguments."""
    return {
        f"{kind}.{name}": arguments
        for path in FILES
        for block in parsed(path).get("resource", [])
        for kind, named in block.items()
        for name, arguments in named.items()
    }


def blocks(kind: str) -> dict[str, Any]:
    """Variables or outputs by name."""
    return {name: content for path in FILES for one in parsed(path).get(kind, []) for name, content in one.items()}


def local_values() -> dict[str, Any]:
    """Local values by name."""
    return {name: value for path in FILES for one in parsed(path).get("locals", []) for name, value in one.items()}
