"""The commands, targets, links and paths that the docs name exist."""

import re
import shlex
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from settings.load import PROJECT
from tests.docs.pages import DOCS, shell_blocks, shell_lines

ROOM = re.compile(
    r"`((?:slipway|serving|components|pipelines|delivery|cli|settings|modules|docs|tests|benchmarks|manifests)/[\w./-]*)`"
)


@pytest.mark.parametrize("line", shell_lines("slipway"))
def test_docs_commands_are_understood(line: str) -> None:
    _, *arguments = takewhile(lambda word: word != ">", shlex.split(line))
    command: Any = typer.main.get_command(app)
    name = "slipway"
    while hasattr(command, "commands"):
        assert arguments[0] in command.commands, f"{line}: there is no {arguments[0]}"
        name, command, arguments = command.resolve_command(None, arguments)
    command.make_context(name, arguments)  # parses as the command line does, without running


@pytest.mark.parametrize("line", shell_lines("make"))
def test_docs_targets_exist(line: str) -> None:
    target = shlex.split(line)[1]
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("doc", [doc for doc in DOCS if shell_blocks(doc)], ids=lambda doc: doc.name)
def test_docs_shell_blocks_are_bash(doc: Path) -> None:
    for block in shell_blocks(doc):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert not done.stderr, f"{doc}: {done.stderr}"


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_docs_commands_in_the_text_exist(doc: Path) -> None:
    for named in re.findall(r"`slipway ([a-z][^`]*)`", doc.read_text()):
        command: Any = typer.main.get_command(app)
        for word in shlex.split(named):
            if not hasattr(command, "commands") or not re.fullmatch(r"[a-z|-]+", word):
                break
            names = word.split("|")
            missing = [name for name in names if name not in command.commands]
            assert not missing, f"`slipway {named}`: there is no {', '.join(missing)}"
            _, command, _ = command.resolve_command(None, names)


def leads_somewhere(doc: Path, path: str, anchor: str) -> bool:
    """Whether there is such a file, and, as GitHub makes anchors of them, such a heading in it."""
    page = doc.parent / path if path else doc
    if not page.exists() or not anchor:
        return page.exists()
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)
def test_docs_links_and_paths_exist(doc: Path) -> None:
    text = doc.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if not leads_somewhere(doc, *link.partition("#")[::2])]
    named = ROOM.findall(text)
    missing += [path for path in named if not any((root / path).exists() for root in (PROJECT, doc.parent))]
    assert not missing
