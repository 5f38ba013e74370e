"""`slipway module`: start a module, and check one."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from cli import options
from cli.output import echo, print_json
from cli.schema import DataToRead, read
from delivery.compile import require_image
from delivery.environment import open_environment
from delivery.images import build_layer
from slipway.data.examples.source import has_scheme, parts_of
from slipway.data.snapshots.take import keep_pointer
from slipway.errors import ConfigError, ModuleError
from slipway.module_kit.check import check_data, check_module
from slipway.module_kit.config import read_config
from slipway.module_kit.requirements import check_installed, check_versions, lock_requirements
from slipway.module_kit.try_metrics import try_metrics
from slipway.stores.module_store import digest_module

app = typer.Typer(no_args_is_help=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the module: lower-case letters, digits and _.")],
    data: DataToRead,
    label: Annotated[str | None, typer.Option(help="Column to predict; one named like a label, or the last.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Write a new module under modules/ that trains on the data as it is."""
    from slipway.data.validation.leaks import find_leaks
    from slipway.module_kit.scaffold.plan import candidates, choose_label, plan_module, read_labels
    from slipway.module_kit.scaffold.write import require_new, write_module

    environment = open_environment(env)
    folder = environment.settings.modules / name
    require_new(folder)
    with TemporaryDirectory(prefix="slipway-module-") as scratch:
        table = read(data, Path(scratch), environment)
        chosen = choose_label(table.statistics, label)
        labels = read_labels(scratch, chosen)
        leaks = find_leaks(scratch, chosen, candidates(table.statistics, chosen))
    written = _from_project(data, environment.project)
    plan = plan_module(name, written, chosen, labels, table.statistics, table.ingestion, leaks)
    files = write_module(plan, folder)
    if as_json:
        print_json({"module": name, "label": plan.label, "task": plan.task, "left_out": dict(plan.left_out),
                    "training_only": dict(plan.training_only), "suspects": [leak for leak, _ in plan.suspects],
                    "ingestion": plan.ingestion.model_dump(mode="json", exclude_defaults=True),
                    "files": [str(file) for file in files]})  # fmt: skip
        return
    guessed = "" if label else " (guessed: --label names another)"
    echo(f"{folder}: predicts {plan.label}{guessed}, task {plan.task}")
    for what, columns in plan.groups():
        if columns:
            echo(f"  {what}: {columns}")
    for leak in leaks:
        if leak.how != "copy":
            echo(f"  warning: {leak.describe(plan.label)}; {leak.fix}")
    echo(f"Train it: slipway run {name}")


def _from_project(data: str, project: Path) -> str:
    """The data as module.yaml names them: local files of the project relative to it, others absolute."""
    parts = (part if has_scheme(part) else os.path.normpath(part) for part in parts_of(data, Path.cwd()))
    return ",".join(part.removeprefix(f"{project}{os.sep}") for part in parts)


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Folder under modules/; all of them by default.")] = None,
    data: Annotated[str | None, typer.Option(help="Data to compare with; the module's own by default.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Check modules against the contract and the columns of local data; of their code only metrics.py is run."""
    checked: list[dict[str, Any]] = []
    environment = open_environment(env)
    for folder in environment.module_folders([name] if name else None):
        one: dict[str, Any] = {"module": folder.name, "task": None, "digest": None, "problems": []}
        try:
            config = check_module(folder)
            one["problems"] = [*check_versions(folder, environment.checkout.folder), *check_installed(folder)]
            if one["problems"]:  # what is not installed cannot be tried
                checked.append(one)
                continue
            if uri := data or config.data:
                whole = ",".join(parts_of(uri, Path.cwd() if data else environment.project))
                whole = keep_pointer(whole, environment.local.data)
                check_data(config, whole, environment.snapshots_of(whole))
            try_metrics(folder, config)
            one |= {"task": config.task, "digest": digest_module(folder)}
        except (ConfigError, ModuleError) as error:
            one["problems"] = str(error).splitlines()
        checked.append(one)
    if as_json:
        print_json(checked)
    else:
        for one in checked:
            echo(f"{one['module']}: {'not right' if one['problems'] else 'right'}")
            for line in one["problems"] or [f"task {one['task']}", f"digest {one['digest']}"]:
                echo(f"  {line}")
    if any(one["problems"] for one in checked):
        raise typer.Exit(1)


@app.command()
def lock(
    name: Annotated[str, typer.Argument(help="Folder under modules/.")],
    env: options.Env = None,
) -> None:
    """Resolve the requirements of module.yaml into requirements.lock, with hashes and the project's versions."""
    environment = open_environment(env)
    [folder] = environment.module_folders([name])
    echo(lock_requirements(folder, read_config(folder).requirements, environment.checkout.folder))


@app.command()
def image(
    name: Annotated[str, typer.Argument(help="Folder under modules/.")],
    image: options.Image = None,
    env: options.Env = None,
) -> None:
    """Build and push the images of a module's steps, unless they are there: layers with its requirements.

    There are two where a step asks for an accelerator: on the image, and on that of steps with one.
    """
    environment = open_environment(env).with_image(image)
    settings = environment.settings
    accelerated = environment.accelerators(settings.delivery.target)
    folder, config = environment.module(name)
    for base in [settings.image, settings.gpu_image] if accelerated else [settings.image]:
        require_image(base)
        if config.requirements:
            base, _ = build_layer(folder, base, environment.builder, environment.checkout.folder)
        echo(base)
