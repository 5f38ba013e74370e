"""`slipway tune`: what a search found."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import options
from cli.output import echo, print_json
from delivery.environment import open_environment
from slipway.errors import ConfigError
from slipway.module_kit.edit import set_values
from slipway.runs.store import load_run
from slipway.runs.summary import TUNING, read_record
from slipway.targets import RemoteTarget
from slipway.tuning.result import TuningRecord

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Use what a run's search for hyperparameters found."""


@app.command()
def adopt(
    run: Annotated[str, typer.Argument(help="Name of a run, or its beginning.")],
    target: Annotated[
        RemoteTarget | None, typer.Option(help="Of a cluster; of this machine by default.", callback=options.keep)
    ] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Write what the search found into module.yaml, as its defaults; its comments stay."""
    environment = open_environment(env)
    view = load_run((environment.remote if target else environment.local).runs, run)
    record = read_record(view.uri, TUNING, TuningRecord)
    if record is None or record.tuned is None:
        raise ConfigError(
            f"{view.name} has no winner of a search: its module has no search_space, or the search did not end"
        )
    [folder] = environment.module_folders([view.summary.lineage.module])
    winner, by_hand = record.tuned.values.without(record.tuned.by_hand), record.tuned.by_hand
    changes = set_values(folder, {"hyperparameters": winner.hyperparameters, "training": winner.training})
    if as_json:
        print_json(
            {
                "run": view.name,
                "module": folder.name,
                "trial": record.tuned.winner,
                "changes": changes,
                "by_hand": by_hand,
            }
        )
        return
    if by_hand:
        echo(f"not written, since given by hand: {', '.join(by_hand)}")
    for line in changes or ["nothing changes: module.yaml has these values"]:
        echo(line)
