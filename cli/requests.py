"""`slipway requests`: what the request log keeps."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json, print_table
from delivery.environment import open_environment
from slipway.errors import ConfigError

app = typer.Typer(cls=options.CompleteHints, no_args_is_help=True)


@app.callback()
def rows() -> None:
    """Delete rows of logged requests."""


@app.command()
def delete(
    key: Annotated[
        list[str],
        typer.Option(metavar="NAME=VALUE", help="A logged feature, or request_id, and its value; all must fit."),
    ],
    model: Annotated[str | None, typer.Argument(help="Name of a model; all by default.")] = None,
    log: Annotated[str | None, typer.Option(help="Log of requests; request_log of the settings by default.")] = None,
    dry_run: options.DryRun = False,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Delete the rows of a key, as those of a person, from all files of the log. This cannot be undone."""
    from serving.request_log.deletion import delete_rows

    wanted = dict(one.partition("=")[::2] for one in key)
    if "" in wanted or "" in wanted.values() or len(wanted) < len(key):
        raise typer.BadParameter(f"{' '.join(key)}: write NAME=VALUE, each name once", param_hint="--key")
    where = log or open_environment(env).settings.request_log
    if not where:
        raise ConfigError("no log is named: give --log, or set request_log in settings/<environment>.yaml")
    found = list(delete_rows(where, model, wanted, dry_run=dry_run))
    rows = sum(one.rows for one in found)
    if as_json:
        print_json({"dry_run": dry_run, "rows": rows, "files": [one._asdict() for one in found]})
        return
    print_table(["file", "rows", "of"], [[one.file, f"{one.rows:,}", f"{one.of:,}"] for one in found])
    echo(f"{'Would delete' if dry_run else 'Deleted'} {rows:,} rows of {len(found):,} files in {where}")
