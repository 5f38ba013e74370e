"""`slipway schema`: the schema of data."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.output import echo, print_json
from delivery.environment import Environment, open_environment
from slipway.data.examples.source import parts_of
from slipway.data.snapshots.resolve import resolve
from slipway.data.snapshots.take import keep_pointer
from slipway.module_api import Label

if TYPE_CHECKING:
    from slipway.module_kit.scaffold.recognise import Table

app = typer.Typer(no_args_is_help=True)

DataToRead = Annotated[str, typer.Option(help=options.DATA_HELP)]


@app.command()
def infer(
    data: DataToRead,
    label: Annotated[str | None, typer.Option(help="Column to predict, which requests do not have.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Print the schema that the data suggest, as a module's schema.pbtxt."""
    from google.protobuf import json_format, text_format

    from slipway.data.schema import fewest_rows, infer_schema

    with TemporaryDirectory(prefix="slipway-schema-") as folder:
        statistics = read(data, Path(folder), open_environment(env)).statistics
    inferred = infer_schema(statistics, Label(column=label) if label else None)
    inferred.dataset_constraints.min_examples_count = fewest_rows(statistics)
    if as_json:
        print_json(json_format.MessageToDict(inferred, preserving_proto_field_name=True))
    else:
        echo(text_format.MessageToString(inferred), end="")


def read(data: str, folder: Path, environment: Environment) -> Table:
    """Reads data as a run does, into `folder`, and says on the error output what was recognised.

    Raises:
        DataError: it cannot be read.
    """
    from slipway.module_kit.scaffold.recognise import read_table

    data = keep_pointer(",".join(parts_of(data, Path.cwd())), environment.local.data)
    table = read_table(resolve(data, 1, environment.snapshots_of(data)), folder)
    for line in table.recognised:
        echo(f"recognised {line}", err=True)
    return table
