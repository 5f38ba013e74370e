"""`slipway predict`: asks a model server; or predicts a whole table, with a version of the model store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from csv import DictWriter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cli import options
from cli.output import echo, print_json, print_table
from delivery.environment import open_environment
from delivery.submission import sample_data
from serving.protocol.signatures import CLASSIFY, RAW, SERVING_DEFAULT
from slipway.data.tfrecord import read_records
from slipway.errors import ConfigError, DataError
from slipway.evaluation.golden import read_golden
from slipway.module_api import Ingestion
from slipway.module_kit.config import read_config
from slipway.stores import storage
from slipway.targets import RemoteTarget

if TYPE_CHECKING:
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

    from serving.client import ClientProtocol, ModelClient

PIPELINE, TABLE = "batch_prediction", "A whole table"
SAMPLE_ROWS = 3
SHOWN_COLUMNS = 4
SHOWN_VALUES = 12  # of a list


class CommandClass(options.OldSpellings):
    """Also accepts `--json FILE.json` and `--json=FILE` for `--instances FILE`; model names have no dot.

    And `--batch 256` for `--request-rows 256`: data are no number.
    """

    old: ClassVar = {
        **options.OldSpellings.old,
        r"(^|\0)--json(=|\0(?=[^\0]*\.json(\0|$)))": r"\1--instances=",
        r"(^|\0)--batch[=\0](?=[0-9]+(\0|$))": r"\1--request-rows=",
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
    request_rows: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 256,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds for one request.")] = 10.0,
    env: options.Env = None,
    output: Annotated[Path | None, typer.Option(help="CSV file to write: the rows, with their predictions.")] = None,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="Print one JSON object for each row.")] = False,
    as_json: options.Json = False,
    batch: Annotated[
        str | None,
        typer.Option(help=f"Predict all of these data, without a server. {options.DATA_HELP}", rich_help_panel=TABLE),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Folder, file.parquet or file.csv, here or in a bucket; or bq:// table.", rich_help_panel=TABLE
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="stable (default), canary or candidate: its newest.", rich_help_panel=TABLE)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="What stays beside the answers: all (default), keys, or a,b.", rich_help_panel=TABLE),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Of a folder: parquet (default) or csv.", rich_help_panel=TABLE)
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Tasks that share the rows.", rich_help_panel=TABLE)] = None,
    target: Annotated[
        RemoteTarget | None, typer.Option(help="Run on this platform; here by default.", rich_help_panel=TABLE)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run on the platform.", rich_help_panel=TABLE)
    ] = False,
) -> None:
    """Send rows to a model server and print its predictions; without a file, three of the sample or of training.

    With --batch, predict a whole table with a version of the model store, without a server.
    """
    of_table = {"to": to, "stage": stage, "columns": columns, "format": format_, "shards": shards}
    if batch:
        if csv or instances or examples or images or address or rest or signature or output or json_lines:
            raise ConfigError("--batch predicts a table without a server: it goes with --to, and with no other file")
        _predict_table(model, batch, of_table | {"version": version}, env, target, wait=wait, as_json=as_json)
        return
    if target or wait or any(of_table.values()):
        raise ConfigError("--to, --stage, --columns, --format, --shards, --target and --wait go with --batch DATA")
    from serving.client import DEFAULT_ADDRESS, connect
    from serving.client.rows import predict_examples

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
        if images:
            given: Iterable[dict[str, Any]] = ({"image": str(path)} for path in images)
            predicted = predict_examples(client, [_read_image(path) for path in images], chosen, request_rows)
        else:
            asked = _read(signatures, model, csv, instances, examples, version, env)
            given, predicted = _ask(client, chosen, request_rows, asked)
        if output:
            echo(f"{output}: {_write_csv(output, given, predicted):,} rows")
        elif json_lines:
            for answer in predicted:
                echo(json.dumps(answer))
        elif as_json:
            print_json(list(predicted))
        else:
            _print(list(zip(given, predicted, strict=True)))


def _predict_table(
    model: str,
    data: str,
    given: dict[str, Any],
    env: str | None,
    target: RemoteTarget | None,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Runs the pipeline that predicts tables, here or on a platform; what is given stands before module.yaml."""
    from cli.run import run, submit

    if given["to"] and "://" not in given["to"]:
        given["to"] = str(Path(given["to"]).expanduser().absolute())
    pairs = [f"{PIPELINE}.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    if target:
        submit(model, target, env, data, pairs, PIPELINE, None, None, wait, require_push=False, as_json=as_json)
    elif wait:
        raise ConfigError("--wait is for a run on a platform: give --target, too")
    else:
        run(model, data, pairs, PIPELINE, env, notify=False, require_push=False, as_json=as_json)


def _ask(
    client: ModelClient, signature: str, batch: int, asked: pa.Table | list[bytes]
) -> tuple[Iterable[dict[str, Any]], Iterator[dict[str, Any]]]:
    """The rows, and the answer for each."""
    from serving.client.rows import input_features, predict_examples, predict_rows, rows_of_examples, table_of

    if isinstance(asked, list) and signature != RAW:
        return rows_of_examples(asked), predict_examples(client, asked, signature, batch)
    features = input_features(client.signatures())
    rows = table_of(rows_of_examples(asked), features, "the examples") if isinstance(asked, list) else asked
    given = (row for part in rows.to_batches(max_chunksize=batch) for row in part.to_pylist())
    return given, predict_rows(client, rows, features, signature, batch)


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
    signatures: Mapping[str, Any],
    model: str,
    csv: Path | None,
    instances: Path | None,
    examples: Path | None,
    version: int | None,
    env: str | None,
) -> pa.Table | list[bytes]:
    """The rows of a file, else a few of the module's sample, else a few of the model's training."""
    from serving.client.rows import input_features, read_csv, read_json
    from slipway.data.examples.read import read_rows

    if examples:
        return _read_examples(examples)
    if instances:
        return read_json(instances, input_features(signatures))
    environment = open_environment(env)
    module = environment.settings.modules / model
    if csv:
        return _read_csv(csv, input_features(signatures), module)
    sample = module / "sample.py"
    if sample.is_file():
        features, made = input_features(signatures), sample_data(sample.parent, environment.settings.home)
        if made.is_file():
            return read_csv(made, features).slice(0, SAMPLE_ROWS)
        rows = read_rows(str(made), read_config(sample.parent).ingestion, SAMPLE_ROWS)
        return rows.select([feature.name for feature in features if feature.name in rows.column_names])
    store = environment.store()
    found = store.version(model, version) if version else store.production(model)
    if found is None:
        raise ConfigError(
            f"there is no {sample}, nor a version of {model!r} in the model store {environment.state.store}, to take "
            "rows from: give --csv, --instances or --examples"
        )
    return read_golden(found.uri).serialized()[:SAMPLE_ROWS]


def _read_csv(path: Path, features: Sequence[schema_pb2.Feature], module: Path) -> pa.Table:
    """The rows of a CSV file, written as the module's `ingestion` says where the module is on this machine."""
    from serving.client.rows import model_columns_first, read_csv
    from slipway.data.examples.read import read_rows

    written = read_config(module).ingestion if (module / "module.yaml").is_file() else Ingestion()
    ingestion = written.model_copy(update={"ignore": ()})  # what the model does not see stays beside its answers
    if ingestion == Ingestion():
        return read_csv(path, features)
    from tensorflow_metadata.proto.v0 import schema_pb2

    rows = read_rows(str(path), ingestion, schema=schema_pb2.Schema(feature=features))
    return model_columns_first(rows, rows.column_names, [feature.name for feature in features], str(path))


def _write_csv(path: Path, given: Iterable[dict[str, Any]], predicted: Iterable[dict[str, Any]]) -> int:
    """Writes rows with their answers, a column `score_CLASS` for each class; returns how many."""
    rows = [given_row | _answer_columns(answer, given_row) for given_row, answer in zip(given, predicted, strict=True)]
    text = io.StringIO()
    writer = DictWriter(text, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    storage.write_text(str(path), text.getvalue())
    return len(rows)


def _answer_columns(answer: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """An answer as columns; a name that the row has already gets `predicted_` before it."""
    flat = {name: json.dumps(value) if isinstance(value, list) else value for name, value in answer.items()}
    flat |= {f"score_{name}": score for name, score in answer.get("scores", {}).items()}
    flat.pop("scores", None)
    return {f"predicted_{name}" if name in row else name: value for name, value in flat.items()}


def _print(answers: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    shown = list(dict.fromkeys(name for given, _ in answers for name in given))[:SHOWN_COLUMNS]
    rows = [list(map(_show, [*map(given.get, shown), *answer.values()])) for given, answer in answers]
    print_table([*shown, *answers[0][1]], rows)


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_show(score)}" for name, score in value.items())
    if isinstance(value, list):
        return " ".join(map(_show, value[:SHOWN_VALUES])) + " …" * (len(value) > SHOWN_VALUES)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
