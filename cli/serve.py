"""`slipway serve`: TensorFlow Serving's contract on this machine."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from prometheus_client import CollectorRegistry

from cli import options
from cli.options import FIELDS_HELP, MAX_PORT, describe_fields, split_fields
from cli.output import echo
from delivery.environment import open_environment
from serving.protocol.addresses import address_of
from serving.protocol.tensor_protos import FLOAT
from serving.request_log import LogOptions, RequestLog
from serving.server.config import ServerConfig
from serving.server.model_sources import BasePaths, ConfigFile, ModelSource, StoreModels
from serving.server.server import ModelServer
from slipway.errors import ConfigError, StoreError


def _flag(name: str, description: str, **bounds: Any) -> Any:
    """An option that may be written as TensorFlow Serving writes it, and as others do."""
    names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    return typer.Option(*names, help=description, **bounds)


def serve(
    model: Annotated[str | None, typer.Argument(help="A model of the store; all by default.")] = None,
    port: Annotated[int, _flag("port", "For gRPC; 0 takes a free one.", min=0, max=MAX_PORT)] = 8500,
    rest_api_port: Annotated[int, _flag("rest_api_port", "For REST; 0 takes a free one.", min=0, max=MAX_PORT)] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; no authentication.")] = "127.0.0.1",
    store: Annotated[
        str | None, typer.Option(help="Model store, local or gs://; the environment's by default.")
    ] = None,
    model_name: Annotated[str, _flag("model_name", "Name of the model at --model_base_path.")] = "default",
    model_base_path: Annotated[
        Path | None, _flag("model_base_path", "Directory of versions, instead of the model store.")
    ] = None,
    model_config_file: Annotated[
        Path | None, _flag("model_config_file", "ModelServerConfig in text form, instead of the model store.")
    ] = None,
    model_config_file_poll_wait_seconds: Annotated[
        float, _flag("model_config_file_poll_wait_seconds", "Between two readings of it; 0 reads once.")
    ] = 0.0,
    file_system_poll_wait_seconds: Annotated[
        float, _flag("file_system_poll_wait_seconds", "Between two looks for versions; 0 looks once.")
    ] = 1.0,
    max_num_load_retries: Annotated[int, _flag("max_num_load_retries", "Of a version that cannot be loaded.")] = 5,
    load_retry_interval_micros: Annotated[
        int, _flag("load_retry_interval_micros", "Between two tries, in microseconds.")
    ] = 60_000_000,
    allow_version_labels_for_unavailable_models: Annotated[
        bool,
        _flag("allow_version_labels_for_unavailable_models", "Let labels of the config wait for their versions."),
    ] = False,
    request_log: Annotated[
        str | None, typer.Option(help="Folder or gs:// URI for a log of requests, as Parquet; none by default.")
    ] = None,
    request_log_sample: Annotated[float, typer.Option(min=0, max=1, help="Share of requests that are logged.")] = 1.0,
    request_log_fields: Annotated[str, typer.Option(help=FIELDS_HELP)] = "",
    env: options.Env = None,
) -> None:
    """Serve models over gRPC and REST as TensorFlow Serving does: for laptops, validation and tests."""
    options.silence_tensorflow()
    config = ServerConfig(
        host=host,
        grpc_port=port,
        rest_port=rest_api_port,
        poll_seconds=file_system_poll_wait_seconds,
        max_load_retries=max_num_load_retries,
        retry_seconds=load_retry_interval_micros / 1e6,
        allow_unavailable_labels=allow_version_labels_for_unavailable_models,
    )
    _check_one_of({"MODEL or --store": model or store, "--model_base_path": model_base_path,
                   "--model_config_file": model_config_file})  # fmt: skip
    source: ModelSource
    if model_config_file:
        source = ConfigFile(
            model_config_file,
            model_config_file_poll_wait_seconds,
            allow_unavailable_labels=config.allow_unavailable_labels,
        )
    elif model_base_path:
        source = BasePaths.single(model_name, model_base_path)
    else:
        source = _store_models(model, store, env)
    with _request_log(request_log, request_log_sample, split_fields(request_log_fields)) as (log, registry):
        _run(source, config, log, registry)


def _check_one_of(given: dict[str, object]) -> None:
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} each say what to serve: give one of them")


def _store_models(model: str | None, uri: str | None, env: str | None) -> ModelSource:
    environment = open_environment(env)
    store = environment.store(uri)
    models = store.models()
    if not models:
        where = uri or environment.state.store
        raise StoreError(f"the model store {where} is empty: `slipway run` trains and pushes a model")
    if model is not None and model not in models:
        raise StoreError(f"there is no model {model!r} in the store; models: {', '.join(models)}")
    return StoreModels(store, [model] if model else [], environment.settings.home / "serving")


@contextmanager
def _request_log(
    sink: str | None, sample: float, fields: tuple[str, ...]
) -> Iterator[tuple[RequestLog | None, CollectorRegistry]]:
    """The log and its metrics; it is written to the end when the server has answered its last request."""
    registry = CollectorRegistry()
    if sink is None:
        yield None, registry
        return
    with RequestLog(LogOptions(sink, sample, fields), registry) as log:
        echo(f"log   {sink}: {describe_fields(fields, '--request-log-fields')}")
        yield log, registry


def _run(
    source: ModelSource, config: ServerConfig, request_log: RequestLog | None, registry: CollectorRegistry
) -> None:
    """Serves until SIGTERM or Ctrl-C; a second one drops the requests in flight."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    with ModelServer(source, config, request_log) as server:
        server.metrics.add_registry(registry)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        _print_addresses(server, config.host)
        stop.wait()
        echo("finishing the requests in flight; interrupt again to drop them")


def _print_addresses(server: ModelServer, host: str) -> None:
    rest = f"http://{address_of(host, server.rest_port)}"
    echo(f"gRPC  {address_of(host, server.grpc_port)}\nREST  {rest}")
    for name in server.manager.models():
        with server.manager.use(name) as servable:
            echo(f"try   {_curl(rest, name, servable.signatures)}")
    echo("For laptops, validation and tests: in the cluster the image tensorflow/serving serves the same way.")


def _curl(rest: str, name: str, signatures: Mapping[str, Any]) -> str:
    """A request that the model can answer: numbers for two inputs of `raw`, if the others may be left out."""
    raw = signatures.get("raw")
    if raw is None or raw.inputs.keys() - raw.defaults.keys():
        return f"curl {rest}/v1/models/{name}/metadata"
    floats = sorted((alias for alias, info in raw.inputs.items() if info.dtype == FLOAT), key=len)[:2]
    body = {"signature_name": "raw", "instances": [dict.fromkeys(floats, 1.5)]}
    return f"curl -d '{json.dumps(body)}' {rest}/v1/models/{name}:predict"
