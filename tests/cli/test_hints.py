"""The commands that messages tell to run are commands: they parse, and name model and environment."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from slipway.errors import RolloutError, StoreError
from tests.cli.commands import rollout, slipway
from tests.fakes.kubernetes.world import World

PROJECT = Path(__file__).parents[2]
FOLDERS = ("serving", "slipway", "components/rollout_model", "cli", "delivery")


def texts(file: Path) -> Iterator[str]:
    """Texts of a file, with 1 in place of what is filled in."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "1" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def hints() -> set[str]:
    files = (file for folder in FOLDERS for file in (PROJECT / folder).rglob("*.py"))
    found = (hint for file in files for text in texts(file) for hint in re.findall(r"`slipway ([^`\\]+)`", text))
    # A verb that is filled in is tried by the tests of rollbacks; a bare name is not to be run.
    return {hint for hint in found if re.match(r"(rollout|models) [a-z]+ .", hint)}


@pytest.mark.parametrize("hint", sorted(hints()))
def test_hint_parses(hint: str) -> None:
    group, verb, *arguments = shlex.split(hint)
    command: Any = typer.main.get_command(app)
    with command.make_context("slipway", [group, verb]) as context:
        _, found, _ = command.resolve_command(context, [group, verb])
    found.commands[verb].make_context(verb, arguments).close()


def test_hints_were_found() -> None:
    assert {"rollout start 1/1", "rollout promote 1", "models release 1/1"} <= hints()


def test_hint_of_an_error_names_the_environment_and_the_store_that_were_given(world: World) -> None:
    first = world.versions[0]
    rollout("start", str(first))
    with pytest.raises(RolloutError, match=r"start one: `slipway rollout start taxi --env staging`"):
        rollout("abort")
    with pytest.raises(
        StoreError, match=r"`slipway models promote taxi/\d+ --store '?/.*, `slipway rollout start [^-]*`"
    ):
        slipway("models", "rollback", "taxi", "--to", str(world.versions[1]), "--store", world.store.uri)
