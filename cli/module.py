"""`slipway module`: start a module, and check one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.output import JsonOption, print_json

app = typer.Typer(help="Start a module, and check one.", no_args_is_help=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the module: lower-case letters, digits and _.")],
    data: Annotated[str, typer.Option(help="File, glob, {SPAN} pattern, gs:// or bq:// URI to learn from.")],
    label: Annotated[str | None, typer.Option(help="Column to predict; one named like a label, or the last.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Write a new module under modules/ that trains on the data as it is."""
    import tempfile
    from pathlib import Path

    from cli.schema import absolute_uri, describe
    from settings.load import load_settings
    from slipway.module_kit.scaffold.plan import choose_label, plan_module, read_labels
    from slipway.module_kit.scaffold.write import require_new, write_module

    folder = load_settings().modules / name
    require_new(folder)
    with tempfile.TemporaryDirectory(prefix="slipway-module-") as scratch:
        statistics = describe(data, Path(scratch))
        chosen = choose_label(statistics, label)
        labels = read_labels(scratch, chosen)
    plan = plan_module(name, absolute_uri(data), chosen, labels, statistics)
    files = write_module(plan, folder)
    if as_json:
        print_json({"module": name, "label": plan.label, "task": plan.task, "left_out": dict(plan.left_out),
                    "files": [str(file) for file in files]})  # fmt: skip
        return
    guessed = "" if label else " (guessed: --label names another)"
    typer.echo(f"{folder}: predicts {plan.label}{guessed}, task {plan.task}")
    typer.echo(f"  learns from {', '.join(plan.numbers + plan.categories)}")
    for column, why in plan.left_out:
        typer.echo(f"  leaves out {column}: {why}")
    typer.echo(f"Train it: slipway run --module {name}")


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Folder under modules/; all of them by default.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Check modules against the contract, without running their code."""
    from cli.workspace import module_folder
    from settings.load import load_settings
    from slipway.errors import ConfigError, ModuleError
    from slipway.module_kit.check import check_module
    from slipway.stores.module_store import digest_module

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
