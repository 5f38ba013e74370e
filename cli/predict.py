"""`slipway predict`: asks a model server."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

    from serving.client import ModelClient

SAMPLE_ROWS = 3
SHOWN_COLUMNS = 4

Row = dict[str, Any]


def predict(
    model: Annotated[str, typer.Option(help="Name of the served model.")] = "taxi",
    csv: Annotated[Path | None, typer.Option(help="CSV file with a header.")] = None,
    json: Annotated[Path | None, typer.Option(help='JSON: objects, a list of them, or {"instances": […]}.')] = None,
    examples: Annotated[Path | None, typer.Option(help="TFRecord file of tf.Examples.")] = None,
    rest: Annotated[bool, typer.Option("--rest/--grpc", help="The protocol.")] = False,
    address: Annotated[str | None, typer.Option(help="HOST:PORT; localhost:8500 (gRPC) or :8501 (REST).")] = None,
    signature: Annotated[
        str | None, typer.Option(help="classify where the model has it, else serving_default; or raw.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="A version; the server's newest by default.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 256,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds for one request.")] = 10.0,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="Print one JSON object a row.")] = False,
) -> None:
    """Send rows to a model server and print what it predicts; three rows of the module's sample without a file."""
    from serving.client import DEFAULT_ADDRESS, ClientProtocol, connect
    from serving.client.predictions import predict_rows
    from serving.client.row_files import input_features
    from serving.protocol.signatures import CLASSIFY, SERVING_DEFAULT
    from slipway.errors import ConfigError

    if sum(file is not None for file in (csv, json, examples)) > 1:
        raise ConfigError("give one of --csv, --json and --examples, not several")
    protocol: ClientProtocol = "rest" if rest else "grpc"
    where = address or DEFAULT_ADDRESS[protocol]
    with connect(where, model, protocol=protocol, version=version, timeout_seconds=timeout) as client:
        signatures = client.signatures()
        chosen = signature or (CLASSIFY if CLASSIFY in signatures else SERVING_DEFAULT)
        if chosen not in signatures:
            raise ConfigError(f"--signature {chosen}: the served model has {', '.join(sorted(signatures))}")
        answers: Iterable[tuple[Row, Row]]
        if examples:
            answers = _ask_examples(client, examples, chosen, batch)
        else:
            features = input_features(signatures)
            rows = _read(features, model, csv, json)
            given = (row for part in rows.to_batches(max_chunksize=batch) for row in part.to_pylist())
            answers = zip(given, predict_rows(client, rows, features, chosen, batch), strict=True)
        _print(answers, json_lines=json_lines)


def _ask_examples(client: ModelClient, path: Path, signature: str, batch: int) -> Iterator[tuple[Row, Row]]:
    from serving.client.predictions import predict_examples
    from slipway.data.tfrecord import read_records
    from slipway.errors import DataError

    try:
        records = read_records(path)
    except OSError as error:
        raise DataError(f"{path}: {error}") from error
    if not records:
        raise DataError(f"{path} has no records")
    for number, answer in enumerate(predict_examples(client, records, signature, batch), 1):
        yield {"record": number}, answer


def _read(features: Sequence[schema_pb2.Feature], model: str, csv: Path | None, json: Path | None) -> pa.Table:
    from cli.workspace import module_folder, sample_file
    from serving.client.row_files import read_csv, read_json
    from settings.load import load_settings
    from slipway.errors import ConfigError

    if json:
        return read_json(json, features)
    if csv:
        return read_csv(csv, features)
    settings = load_settings()
    folder = module_folder(settings, model)
    if not (folder / "sample.py").is_file():
        raise ConfigError(f"{folder} has no sample.py to take rows from: give --csv, --json or --examples")
    return read_csv(sample_file(folder, settings.home), features).slice(0, SAMPLE_ROWS)


def _print(answers: Iterable[tuple[Row, Row]], *, json_lines: bool) -> None:
    if json_lines:
        for _, answer in answers:
            typer.echo(json_module.dumps(answer))
        return
    rows = [(list(given.items())[:SHOWN_COLUMNS], answer) for given, answer in answers]
    inputs = [name for name, _ in rows[0][0]]
    outputs = list(rows[0][1])
    print_table(
        [*inputs, *outputs],
        [[*(_show(value) for _, value in given), *(_show(answer[name]) for name in outputs)] for given, answer in rows],
    )


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_show(score)}" for name, score in value.items())
    if isinstance(value, list):
        return " ".join(map(_show, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
