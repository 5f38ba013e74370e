"""`slipway module`: start a module, and check one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.output import JsonOption, print_json

app = typer.Typer(help="Start a module, and check one.", no_args_is_help=True)


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Folder under modules/; all of them by default.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Check modules against the contract, without running their code."""
    from cli.workspace import module_folder
    from settings.load import load_settings
    from slipway.errors import ConfigError, ModuleError
    from slipway.module_store import check_module, digest_module

    settings = load_settings()
    every = sorted(path.parent for path in settings.modules.glob("*/module.yaml"))
    checked: list[dict[str, Any]] = []
    for folder in [module_folder(settings, name)] if name else every:
        one: dict[str, Any] = {"module": folder.name, "task": None, "digest": None, "problems": []}
        try:
            one |= {"task": check_module(folder).task, "digest": digest_module(folder)}
        except (ConfigError, ModuleError) as error:
            one["problems"] = str(error).splitlines()
        checked.append(one)
    if as_json:
        print_json(checked)
    else:
        for one in checked:
            typer.echo(f"{one['module']}: {'not right' if one['problems'] else 'right'}")
            for line in one["problems"] or [f"task {one['task']}", f"digest {one['digest']}"]:
                typer.echo(f"  {line}")
    if any(one["problems"] for one in checked):
        raise typer.Exit(1)
