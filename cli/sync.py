"""`slipway sync`: modules to where runs on a cluster find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import JsonOption, print_json

if TYPE_CHECKING:
    from settings.schema import Settings


def sync(
    modules: Annotated[list[str] | None, typer.Argument(help="Folders under modules/; all by default.")] = None,
    env: Annotated[str | None, typer.Option("--env", help="Settings of settings/<ENV>.yaml over base.yaml.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Publish modules by content: to remote_home of the settings, or to the home of local runs without one."""
    from cli.workspace import module_folder
    from delivery.sync import sync_module
    from settings.load import load_settings

    settings = load_settings(env)
    known = sorted(path.parent.name for path in settings.modules.glob("*/module.yaml"))
    folders = [module_folder(settings, name) for name in modules or known]
    done = []
    for folder in folders:
        synced = sync_module(folder, modules_root(settings))
        done.append(synced)
        if not as_json:
            typer.echo(
                f"{synced.module.name}: {'published' if synced.uploaded else 'already there'}: {synced.module.uri}"
            )
    if as_json:
        print_json(
            [
                {
                    "module": one.module.name,
                    "digest": one.module.digest,
                    "uri": one.module.uri,
                    "uploaded": one.uploaded,
                }
                for one in done
            ]
        )


def modules_root(settings: Settings) -> str:
    """Where modules are published in an environment."""
    from slipway.stores.storage import join

    return join(settings.remote_home or str(settings.home), "modules")
