"""`slipway schema`: what a file's columns look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import JsonOption, print_json

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

app = typer.Typer(help="Schemas of data.", no_args_is_help=True)

# Reading needs some label, and none may be known yet: this column is computed, and dropped afterwards.
_PLACEHOLDER = "slipway_placeholder"


@app.command()
def infer(
    data: Annotated[str, typer.Option(help="File, glob, {SPAN} pattern, gs:// or bq:// URI.")],
    label: Annotated[str | None, typer.Option(help="Column that a model is to predict: not there in serving.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Print the schema that a file's columns suggest, as a module's schema.pbtxt."""
    import tempfile

    from google.protobuf import json_format, text_format

    from slipway.data.schema.infer import infer_schema
    from slipway.module_api import Label

    with tempfile.TemporaryDirectory(prefix="slipway-schema-") as folder:
        statistics = describe(data, Path(folder))
    schema = infer_schema(statistics, Label(column=label) if label else None)
    if as_json:
        print_json(json_format.MessageToDict(schema, preserving_proto_field_name=True))
    else:
        typer.echo(text_format.MessageToString(schema), nl=False)


def describe(data: str, folder: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Reads data as a run would, into `folder`, and computes its statistics.

    Raises:
        DataError: it cannot be read.
    """
    from components.ingest_examples.run import ingest
    from components.resolve_source.run import resolve
    from slipway.data.statistics.compute import compute_statistics
    from slipway.data.statistics.describe import feature_name

    source, _ = resolve(absolute_uri(data), 1, "", str(folder / "runs"), str(folder / "sources"))
    config: dict[str, Any] = {
        "task": "regression",
        "label": {"column": _PLACEHOLDER, "expression": "1"},
        "split": {"method": "hash"},
        "ingestion": {},
    }
    ingest(source, config, "", str(folder))
    statistics = compute_statistics(folder)
    for dataset in statistics.datasets:
        kept = [feature for feature in dataset.features if feature_name(feature) != _PLACEHOLDER]
        del dataset.features[:]
        dataset.features.extend(kept)
    return statistics


def absolute_uri(data: str) -> str:
    """A local path or pattern (several with commas) from where the user stands; a URI as it is."""
    return data if "://" in data else ",".join(str(Path.cwd() / part) for part in data.split(","))
