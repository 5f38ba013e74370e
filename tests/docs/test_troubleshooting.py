"""docs/troubleshooting.md quotes messages that the code still has."""

import ast
import re
from functools import cache

import pytest

from settings.load import PROJECT

ROOMS = ("cli", "components", "console", "delivery", "pipelines", "serving", "settings", "slipway")
PAGE = (PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### (\d+)\. `(.+)`$", PAGE, flags=re.MULTILINE)
# Messages that an entry mentions beside its own.
MENTIONED = [
    "cannot read this machine's files; copy it to a bucket",
    "the credential is missing, wrong or expired",
    "serves many users: set kubeflow.namespace to your profile's namespace",
    "no valid Google credentials",
    "end that first: …",
]


@cache
def messages() -> str:
    """All string literals of the code, a line each, with `…` for each value that is put in."""
    found = []
    for room in ROOMS:
        for path in (PROJECT / room).rglob("*.py"):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            for node in nodes:
                if id(node) in docstrings:
                    continue
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(_part(part) for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(text.replace("\n", " ") for text in found)


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def is_printed(message: str) -> bool:
    """Whether a literal of the code is, or contains, a message whose `…` stand for anything."""
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    return re.search(pattern, messages()) is not None


def test_troubleshooting_has_twenty_entries() -> None:
    assert [int(number) for number, _ in HEADINGS] == list(range(1, 21))
    assert PAGE.count("**Why:**") == PAGE.count("**Fix:**") == len(HEADINGS)


@pytest.mark.parametrize("message", [message for _, message in HEADINGS])
def test_troubleshooting_message_is_in_the_code(message: str) -> None:
    assert is_printed(message), f"no literal of the code says: {message}"


@pytest.mark.parametrize("message", MENTIONED)
def test_troubleshooting_mentioned_message_is_in_the_code(message: str) -> None:
    assert f"`{message}`" in PAGE
    assert is_printed(message)


def test_troubleshooting_finds_no_message_that_nobody_prints() -> None:
    assert not is_printed("there is no module …: it was eaten")
