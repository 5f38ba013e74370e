"""Each command of the guides and runbooks is run by a test, or stands in not_run.py with the reason why not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest

from settings.load import PROJECT
from tests.docs.guides import PAGES, copied, inline, of_the_project, of_the_target, statements
from tests.docs.not_run import NOT_RUN, reason
from tests.docs.runbooks import SECTIONS, chosen, lines

TESTS = [PROJECT / "tests" / name for name in ("docs/test_operations.py", "docs/test_guides.py", "test_ownership.py")]


def calls(name: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The texts with which the tests call a function of this name."""
    for tree in (ast.parse(path.read_text()) for path in TESTS):
        named = {
            target.id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

        def text(node: ast.expr, named: dict[str, Any] = named) -> str:
            return str(node.value if isinstance(node, ast.Constant) else named.get(getattr(node, "id", ""), ""))

        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if getattr(node.func, "attr", getattr(node.func, "id", "")) == name:
                yield [text(one) for one in node.args], {str(one.arg): text(one.value) for one in node.keywords}


def run_by_operators() -> set[str]:
    """Lines of the runbooks that an operator of the tests runs."""
    found = set[str]()
    for given, named in calls("run"):
        found |= set(chosen(*given, **named)) if given[0] in SECTIONS else set()
    return found | {chosen(*given)[0] for given, _ in calls("run_one")}


def run_of(page: str) -> set[str]:
    """Commands of a page that tests run by name."""
    return {copied(*given) for given, _ in calls("copied") if given[0] == page}


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_a_page_is_run_or_has_a_reason(page: str) -> None:
    if page == "operations":
        commands = [line for section in SECTIONS for line in lines(section)]
        run = run_by_operators() | run_of(page) | {line for line in commands if line.startswith("export ")}
    else:
        commands, run = statements(page), run_of(page) | set(of_the_project(page)) | set(of_the_target(page))
    commands = [*commands, *inline(page)]
    assert [one for one in commands if not any(its.startswith(one) for its in run) and reason(one) is None] == []
    assert [one for one in commands if one in run and reason(one)] == [], "it is run: take it out of not_run.py"


def test_reasons_are_of_commands_that_are_there() -> None:
    commands = [one for page in PAGES for one in [*statements(page), *inline(page)]]
    starts = [start for each in NOT_RUN.values() for start in each]
    assert [start for start in starts if not any(one.startswith(start) for one in commands)] == []
