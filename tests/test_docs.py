"""The commands, targets, links and paths that the docs name exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app

PROJECT = Path(__file__).parent.parent
DOCS = sorted(
    [
        *PROJECT.glob("*.md"),
        *(path for room in ("docs", "manifests", "tests") for path in (PROJECT / room).rglob("*.md")),
    ]
)
ROOM = re.compile(
    r"`((?:slipway|serving|components|pipelines|delivery|cli|settings|modules|docs|tests|benchmarks|manifests)/[\w./-]*)`"
)


def shell_lines() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (PROJECT / "README.md").read_text(), flags=re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("slipway")])
def test_readme_commands_are_understood(line: str) -> None:
    arguments = shlex.split(line.partition(" > ")[0])[1:]
    command: Any = typer.main.get_command(app)
    name = "slipway"
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        assert name in command.commands, f"{line}: there is no {name}"
        command = command.commands[name]
    command.make_context(name, arguments)  # parses as the command line does, without running


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("make")])
def test_readme_targets_exist(line: str) -> None:
    target = shlex.split(line)[1]
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_docs_links_and_paths_exist(doc: Path) -> None:
    text = doc.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (doc.parent / link).exists()]
    named = ROOM.findall(text)
    missing += [path for path in named if not any((root / path).exists() for root in (PROJECT, doc.parent))]
    assert not missing
