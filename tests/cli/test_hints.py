"""The commands that messages tell to run are commands: they parse, and name model and environment."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main

from cli.main import app
from slipway.errors import RolloutError, StoreError
from slipway.hints import complete, nothing_given, remember
from tests.cli.commands import rollout, slipway
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.kubernetes.world import World

PROJECT = Path(__file__).parents[2]
FOLDERS = ("serving", "slipway", "components", "cli", "delivery", "settings", "modules", "pipelines")


def texts(file: Path) -> Iterator[str]:
    """Texts of a file but docstrings and help, with 1 in place of what is filled in."""
    source = file.read_text()
    nodes = list(ast.walk(ast.parse(source))) if "`slipway " in source else []
    helps = {id(one.value) for one in nodes if isinstance(one, ast.keyword) and one.arg in {"help", "description"}}
    helps |= {id(one.value) for one in nodes if isinstance(one, ast.Expr)}
    for node in nodes:
        if id(node) in helps:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "1" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def hints() -> set[str]:
    files = (file for folder in FOLDERS for file in (PROJECT / folder).rglob("*.py"))
    found = {hint for file in files for text in texts(file) for hint in re.findall(r"`(slipway [^`\\]+)`", text)}
    # A verb that is filled in is tried by the tests of rollbacks; the other stands in the file that the command made.
    return found - {"slipway rollout 1 1", "slipway module lock"}


def parse(hint: str) -> None:
    """Parses a command as the shell and the command line do, with 1 for what a person fills in."""
    filled_in = re.sub(r"--target \w+", "--target vertex", hint)
    arguments = shlex.split(re.sub(r"\b[A-Z]{2,}\b", "1", filled_in))[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("slipway", list(arguments))
    while isinstance(command, typer.core.TyperGroup):
        name, command, arguments = command.resolve_command(context, arguments)
        context = command.make_context(name, list(arguments), parent=context)
    context.close()


@pytest.mark.parametrize("hint", sorted(hints()))
def test_hint_parses_with_the_environment_the_store_and_the_target(hint: str, tmp_path: Path) -> None:
    completed = complete(f"`{hint}`", env="staging", store=str(tmp_path), target="vertex").strip("`")
    assert completed.count("--target") == (hint.split()[1] in {"compile", "runs", "schedules", "submit"})
    assert ("--env staging" in completed) == (hint.split()[1] not in {"schema", "gate", "loop"})
    parse(completed)


def test_hints_were_found() -> None:
    assert {"slipway rollout start 1/1", "slipway rollout promote 1", "slipway track sync"} <= hints()


def test_hint_of_an_error_names_the_environment_and_the_store_that_were_given(world: World) -> None:
    first = world.versions[0]
    rollout("start", str(first))
    with pytest.raises(RolloutError, match=r"start one: `slipway rollout start taxi --env staging`"):
        rollout("abort")
    with pytest.raises(
        StoreError, match=r"`slipway models promote taxi/\d+ --store '?/.*, `slipway rollout start [^-]*`"
    ):
        slipway("models", "rollback", "taxi", "--to", str(world.versions[1]), "--store", world.store.uri)


def test_hint_that_is_printed_names_the_target_that_was_given(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "SLIPWAY_SCHEDULES", '{"nightly": {"module": "taxi", "cron": "0 3 * * *", "data": "gs://b/rows"}}'
    )
    [missing] = json.loads(slipway("schedules", "list", "--target", "kubeflow", "--json").stdout)
    assert missing["id"] is None
    told = " ".join(slipway("schedules", "list", "--target", "kubeflow").stdout.split())
    assert "`slipway schedules apply --target kubeflow`" in told


def test_hint_for_a_cluster_without_runs_names_the_target_that_was_given() -> None:
    with nothing_given():
        remember("target", "vertex")
        assert complete("`slipway submit MODULE --target TARGET`") == "`slipway submit MODULE --target vertex`"
    assert complete("`slipway submit MODULE --target TARGET`") == "`slipway submit MODULE --target TARGET`"


def test_hint_that_is_printed_names_the_environment_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    assert "`slipway run --env staging`" in slipway("models", "list", "--env", "staging").stdout
    assert "`slipway run`" in slipway("models", "list").stdout  # nothing is kept of the command before
