"""The pages and the shell lines that they show."""

from __future__ import annotations

import re
from pathlib import Path

from settings.load import PROJECT

DOCS = sorted(
    [
        *PROJECT.glob("*.md"),
        *(
            path
            for room in ("docs", "manifests", "tests")
            for path in (PROJECT / room).rglob("*.md")
            if "node_modules" not in path.parts
        ),
    ]
)


def shell_blocks(doc: Path) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", doc.read_text(), flags=re.DOTALL)


def shell_lines(start: str) -> list[str]:
    """Lines of all pages' shell blocks that begin with a word, without comments; continued ones joined."""
    lines = [line for doc in DOCS for block in shell_blocks(doc) for line in block.replace("\\\n", "").splitlines()]
    bare = [line.partition("  #")[0].strip().removesuffix(" &") for line in lines]
    return sorted({line for line in bare if line.startswith(f"{start} ")})
