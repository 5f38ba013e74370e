"""`slipway sync`: modules to the place where runs find them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json
from delivery.deploy import sync_module
from delivery.environment import open_environment


def sync(
    modules: Annotated[list[str] | None, typer.Argument(help="Folders under modules/; all by default.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Publish modules under their digests, to remote_home of the settings, or to the home of local runs without one."""
    environment = open_environment(env)
    done = []
    for folder in environment.module_folders(modules):
        module, uploaded = sync_module(folder, environment.state.modules)
        done.append({"module": module.name, "digest": module.digest, "uri": module.uri, "uploaded": uploaded})
        if not as_json:
            echo(f"{module.name}: {'published' if uploaded else 'already there'}: {module.uri}")
    if as_json:
        print_json(done)
