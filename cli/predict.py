"""`slipway predict`: asks a model server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import typer
from tensorflow_metadata.proto.v0 import schema_pb2

from cli import options
from cli.output import echo, print_json, print_table
from delivery.environment import open_environment
from delivery.submission import sample_data
from serving.client import DEFAULT_ADDRESS, ClientProtocol, connect
from serving.client.rows import input_features, predict_examples, predict_rows, read_csv, read_json
from serving.protocol.signatures import CLASSIFY, SERVING_DEFAULT
from slipway.data.examples.read import first_rows
from slipway.data.tfrecord import read_records
from slipway.errors import ConfigError, DataError
from slipway.module_kit.config import read_config

SAMPLE_ROWS = 3
SHOWN_COLUMNS = 4
SHOWN_VALUES = 12  # of a list


class CommandClass(options.OldSpellings):
    """Also accepts `--json FILE.json` and `--json=FILE` for `--instances FILE`; model names have no dot."""

    old: ClassVar = {
        **options.OldSpellings.old,
        r"(^|\0)--json(=|\0(?=[^\0]*\.json(\0|$)))": r"\1--instances=",
    }


def predict(
    model: options.Model = options.TAXI,
    csv: Annotated[Path | None, typer.Option(help="CSV file with a header.")] = None,
    instances: Annotated[Path | None, typer.Option(help='JSON: objects, a list, or {"instances": […]}.')] = None,
    examples: Annotated[Path | None, typer.Option(help="TFRecord file of tf.Examples.")] = None,
    images: Annotated[list[Path] | None, typer.Option(help="PNG or JPEG, where an image is all; repeatable.")] = None,
    rest: Annotated[bool, typer.Option("--rest/--grpc", help="The protocol.")] = False,
    address: Annotated[str | None, typer.Option(help="HOST:PORT; localhost:8500 (gRPC) or :8501 (REST).")] = None,
    signature: Annotated[str | None, typer.Option(help="classify, else serving_default, by default.")] = None,
    version: Annotated[int | None, typer.Option(help="A version; the server's newest by default.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 256,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds for one request.")] = 10.0,
    env: options.Env = None,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="Print one JSON object for each row.")] = False,
    as_json: options.Json = False,
) -> None:
    """Send rows to a model server and print its predictions; without a file, three rows of the module's sample."""
    if sum(bool(file) for file in (csv, instances, examples, images)) > 1:
        raise ConfigError("give one of --csv, --instances, --examples and --images, not several")
    protocol: ClientProtocol = "rest" if rest else "grpc"
    where = address or DEFAULT_ADDRESS[protocol]
    with connect(where, model, protocol=protocol, version=version, timeout_seconds=timeout) as client:
        signatures = client.signatures()
        # The Classify API takes tf.Examples alone.
        chosen = signature or (CLASSIFY if CLASSIFY in signatures and not images else SERVING_DEFAULT)
        if chosen not in signatures:
            raise ConfigError(f"--signature {chosen}: the served model has {', '.join(sorted(signatures))}")
        given: Iterable[dict[str, Any]]
        if images:
            given = ({"image": str(path)} for path in images)
            predicted = predict_examples(client, [_read_image(path) for path in images], chosen, batch)
        elif examples:
            records = _read_examples(examples)
            given = ({"record": number} for number in range(1, len(records) + 1))
            predicted = predict_examples(client, records, chosen, batch)
        else:
            features = input_features(signatures)
            rows = _read(features, model, csv, instances, env)
            given = (row for part in rows.to_batches(max_chunksize=batch) for row in part.to_pylist())
            predicted = predict_rows(client, rows, features, chosen, batch)
        if json_lines:
            for answer in predicted:
                echo(json.dumps(answer))
        elif as_json:
            print_json(list(predicted))
        else:
            _print(list(zip(given, predicted, strict=True)))


def _read_image(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error}") from error


def _read_examples(path: Path) -> list[bytes]:
    try:
        records = read_records(path)
    except OSError as error:
        raise DataError(f"{path}: {error}") from error
    if not records:
        raise DataError(f"{path} has no records")
    return records


def _read(
    features: Sequence[schema_pb2.Feature], model: str, csv: Path | None, instances: Path | None, env: str | None
) -> pa.Table:
    if instances:
        return read_json(instances, features)
    if csv:
        return read_csv(csv, features)
    environment = open_environment(env)
    [folder] = environment.module_folders([model])
    if not (folder / "sample.py").is_file():
        raise ConfigError(f"{folder} has no sample.py to take rows from: give --csv, --instances or --examples")
    sample = sample_data(folder, environment.settings.home)
    if sample.is_file():
        return read_csv(sample, features).slice(0, SAMPLE_ROWS)
    rows = first_rows(str(sample), read_config(folder).ingestion, SAMPLE_ROWS)
    return rows.select([feature.name for feature in features if feature.name in rows.column_names])


def _print(answers: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    rows = [list(map(_show, [*list(given.values())[:SHOWN_COLUMNS], *answer.values()])) for given, answer in answers]
    given, answer = answers[0]
    print_table([*list(given)[:SHOWN_COLUMNS], *answer], rows)


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_show(score)}" for name, score in value.items())
    if isinstance(value, list):
        return " ".join(map(_show, value[:SHOWN_VALUES])) + " …" * (len(value) > SHOWN_VALUES)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
