"""`slipway features`: the features that modules share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_fact, print_json, print_table
from delivery.environment import Environment, open_environment
from slipway.data.feature_views import FOLDER, read_view, read_views
from slipway.module_kit.config import read_config

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(env: options.Env = None, as_json: options.Json = False) -> None:
    """List the shared features, and the modules that join them."""
    environment = open_environment(env)
    used = _users(environment)
    views = list(read_views(environment.project))
    if as_json:
        print_json(
            [
                one.header.model_dump(mode="json") | {"view": one.name, "modules": used.get(one.name, [])}
                for one in views
            ]
        )
    elif not views:
        echo(f"there are no shared features: {environment.project / FOLDER}/<entity>/<view>.sql would be one")
    else:
        rows = [
            (one.name, ", ".join(one.header.keys), one.header.owner, ", ".join(used.get(one.name, [])) or "none",
             one.header.description)
            for one in views
        ]  # fmt: skip
        print_table(["view", "keys", "owner", "modules", "description"], rows)


@app.command()
def show(
    view: Annotated[str, typer.Argument(help="Name of a view, ENTITY/VIEW.")],
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Compute a shared feature from its data, and show its columns; an error says what is wrong with it."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from slipway.data.examples.joins import join_of
    from slipway.data.examples.read import read_view_rows
    from slipway.data.examples.view_rows import KNOWN
    from slipway.data.snapshots.resolve import resolve_join

    environment = open_environment(env)
    found = read_view(environment.project, view)
    its, modules = found.header, _users(environment).get(view, [])
    with TemporaryDirectory(prefix="slipway-features-") as scratch:
        joined = resolve_join(join_of(found, environment.project, None, None), environment.snapshots_of(its.data))
        path, types = read_view_rows(joined, Path(scratch) / "view")
        known = pq.read_table(path, columns=[KNOWN])[KNOWN]
    first, last = (datetime.fromtimestamp(at / 1e6, UTC).isoformat() if at is not None else None
                   for at in pc.min_max(known).as_py().values())  # fmt: skip
    if as_json:
        print_json(its.model_dump(mode="json") | {"view": view, "modules": modules, "types": types, "rows": len(known),
                                                  "first": first, "last": last})  # fmt: skip
        return
    facts = {
        "about": its.description, "owner": its.owner, "keys": ", ".join(its.keys), "time": f"{its.time}, when known",
        "max age": its.max_age or "none", "data": its.data, "modules": ", ".join(modules) or "none joins it",
        "rows": f"{len(known):,}, known from {first} to {last}" if len(known) else "none",
    }  # fmt: skip
    for name, text in facts.items():
        print_fact(name, text)
    columns = [one for one in types if one not in (*its.keys, its.time)]
    print_table(["column", "type", ""], [(one, types[one], its.columns.get(one, "")) for one in columns])


def _users(environment: Environment) -> dict[str, list[str]]:
    """The modules that join each view, by its name."""
    used: dict[str, list[str]] = {}
    for folder in environment.module_folders():
        for name in dict.fromkeys(one.view for one in read_config(folder).features):
            used.setdefault(name, []).append(folder.name)
    return used
