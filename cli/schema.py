"""`slipway schema`: the schema of data."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from google.protobuf import json_format, text_format
from tensorflow_metadata.proto.v0 import statistics_pb2

from cli import options
from cli.output import echo, print_json
from slipway.data.examples.bigquery import is_bigquery, locate_in_bigquery
from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.examples.source import locate
from slipway.data.schema import infer_schema
from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.describe import feature_name
from slipway.module_api import HashSplit, Ingestion, Label

app = typer.Typer(no_args_is_help=True)

DataToRead = Annotated[str, typer.Option(help=options.DATA_HELP)]

# Reading needs a label, and none may be known yet: this column is computed, and dropped afterwards.
_PLACEHOLDER = "slipway_placeholder"


@app.command()
def infer(
    data: DataToRead,
    label: Annotated[str | None, typer.Option(help="Column to predict, which requests do not have.")] = None,
    as_json: options.Json = False,
) -> None:
    """Print the schema that the data suggest, as a module's schema.pbtxt."""
    with TemporaryDirectory(prefix="slipway-schema-") as folder:
        statistics = describe(data, Path(folder))
    inferred = infer_schema(statistics, Label(column=label) if label else None)
    if as_json:
        print_json(json_format.MessageToDict(inferred, preserving_proto_field_name=True))
    else:
        echo(text_format.MessageToString(inferred), end="")


def describe(data: str, folder: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Reads data as a run does, into `folder`, and computes its statistics.

    Raises:
        DataError: it cannot be read.
    """
    data = absolute_uri(data)
    label = Label(column=_PLACEHOLDER, expression="1")
    config = IngestConfig(task="regression", label=label, split=HashSplit(), ingestion=Ingestion())
    source = locate_in_bigquery(data) if is_bigquery(data) else locate(data, window=1)
    ingest_source(source, config, None, str(folder))
    statistics = compute_statistics(folder)
    for dataset in statistics.datasets:
        kept = [feature for feature in dataset.features if feature_name(feature) != _PLACEHOLDER]
        del dataset.features[:]
        dataset.features.extend(kept)
    return statistics


def absolute_uri(data: str) -> str:
    """A local path or pattern (several with commas) made absolute; a URI as it is."""
    return data if "://" in data else ",".join(str(Path.cwd() / part) for part in data.split(","))
