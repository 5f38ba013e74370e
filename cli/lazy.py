"""Commands whose modules are imported when they are called, or when their help is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main


class Command(NamedTuple):
    """A line of the main help.

    The module `cli.<name>` has a function of the same name, or an `app` with subcommands.
    """

    panel: str
    name: str
    help: str

    @property
    def line(self) -> Any:
        """All that the main help needs; it cannot be called."""
        return typer.core.TyperCommand(self.name, help=self.help, rich_help_panel=self.panel)

    def load(self) -> Any:
        """The command itself."""
        attribute = self.name.replace("-", "_")
        module = import_module(f"cli.{attribute}")
        if hasattr(module, "app"):
            command: Any = typer.main.get_group(module.app)
            command.help = self.help
        else:
            app = typer.Typer(add_completion=False)
            app.command(self.name)(getattr(module, attribute))
            command = typer.main.get_command(app)
        command.name = self.name
        return command


class LazyGroup(typer.core.TyperGroup):
    """A group that lists its commands without importing them."""

    table: list[Command]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Loaded({command.name: command for command in self.table})

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table, not of the alphabet."""
        return [command.name for command in self.table]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A line of the help; `resolve_command` loads."""
        return next((command.line for command in self.table if command.name == cmd_name), None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.commands[name] if name and command else command, rest


class _Loaded(dict[str, Any]):
    """Commands by name, each loaded when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name).load()
