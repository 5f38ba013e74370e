"""Commands that messages tell to run, completed so that they run as printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# What the running command was given.
_given: ContextVar[dict[str, str]] = ContextVar("given")

_COMMAND = re.compile(r"`(?P<command>slipway (?P<group>[a-z-]+)\b[^`]*)`")
_WITHOUT_ENVIRONMENT = {"gate", "loop", "protoset", "schema"}
_WITH_STORE = {"models"}
_WITH_TARGET = {"compile", "explain", "report", "runs", "schedules", "submit"}


@contextmanager
def nothing_given() -> Iterator[None]:
    """A command begins, and ends with the block."""
    token = _given.set({})
    try:
        yield
    finally:
        _given.reset(token)


def remember(option: str, value: str | None) -> None:
    """An option of the running command, for the commands that it tells to run."""
    if value:
        _given.get({})[option] = value


def complete(text: str, **given: str) -> str:
    """Adds `env`, `store` and `target` to the commands of a text that take them; by default as they were given."""
    options = given or _given.get({})

    def completed(found: re.Match[str]) -> str:
        command, group = found["command"], found["group"]
        takes = {
            "env": group not in _WITHOUT_ENVIRONMENT,
            "store": group in _WITH_STORE,
            "target": group in _WITH_TARGET,
        }
        if options.get("target"):
            command = command.replace(" --target TARGET", "")
        for option, value in options.items():
            if value and takes[option] and f" --{option} " not in f"{command} ":
                command += f" --{option} {shlex.quote(value)}"
        return f"`{command}`"

    return _COMMAND.sub(completed, text)
