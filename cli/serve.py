"""`slipway serve`: TensorFlow Serving's contract on this machine."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from cli import options
from cli.options import MAX_PORT, describe_fields, split_fields
from cli.output import echo, print_log
from delivery.environment import open_environment
from serving.protocol.addresses import address_of
from serving.protocol.signatures import RAW
from serving.server.config import ServerConfig
from slipway.errors import ConfigError, StoreError
from slipway.evaluation.golden import read_golden

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from serving.request_log import RequestLog
    from serving.server.model_sources import ModelSource
    from serving.server.servable import Servable

MOST_CURL_CHARACTERS = 2_000


# Flags of TensorFlow Serving (`model_servers/main.cc`) that decide how fast it is, and nothing about its answers.
_OF_TENSORFLOW_SERVING = {
    "--batching-parameters-file", "--enable-batching", "--enable-grpc-healthcheck-service", "--enable-model-warmup",
    "--enable-per-model-batching-parameters", "--enable-profiler", "--flush-filesystem-caches",
    "--grpc-channel-arguments", "--grpc-max-threads", "--monitoring-config-file", "--num-load-threads",
    "--num-request-iterations-for-warmup", "--num-unload-threads", "--per-process-gpu-memory-fraction",
    "--remove-unused-fields-from-bundle-metagraph", "--rest-api-num-threads", "--rest-api-timeout-in-ms",
    "--skip-initialize-tpu", "--tensorflow-inter-op-parallelism", "--tensorflow-intra-op-parallelism",
    "--tensorflow-session-config-file", "--tensorflow-session-parallelism", "--thread-pool-factory-config-file",
    "--xla-cpu-compilation-enabled", "--xla-gpu-compilation-enabled",
}  # fmt: skip
_SWITCHES = {"--allow-version-labels-for-unavailable-models", "--rest-api-enable-cors-support"}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class CommandClass(typer.core.TyperCommand):
    """Takes the command line of `tensorflow_model_server`: `--flag=value`, and `=true` at its switches."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leaves out what makes no difference here, and says so."""
        kept = []
        for arg in args:
            flag, _, value = arg.partition("=")
            name = flag.replace("_", "-")
            if name in _OF_TENSORFLOW_SERVING:
                echo(f"{flag} makes no difference here: it is for TensorFlow Serving, in the cluster", err=True)
            elif name not in _SWITCHES or value.lower() not in _TRUTH:
                kept.append(arg)
            elif _TRUTH[value.lower()]:
                kept.append(flag)
        return super().parse_args(ctx, kept)


def serve(
    model: Annotated[str | None, typer.Argument(help="A model of the store; all by default.")] = None,
    port: Annotated[int, typer.Option(help="For gRPC; 0 takes a free one.", min=0, max=MAX_PORT)] = 8500,
    rest_api_port: Annotated[int, typer.Option(help="For REST; 0 takes a free one.", min=0, max=MAX_PORT)] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; no authentication.")] = "127.0.0.1",
    store: options.Store = None,
    model_name: Annotated[str, typer.Option(help="Name of the model at --model-base-path.")] = "default",
    model_base_path: Annotated[str | None, typer.Option(help="Directory of versions, instead of a store.")] = None,
    model_config_file: Annotated[
        Path | None, typer.Option(help="ModelServerConfig in text form, instead of a store.")
    ] = None,
    model_config_file_poll_wait_seconds: Annotated[
        float, typer.Option(help="Seconds between reads of the file; 0 reads once.")
    ] = 0.0,
    file_system_poll_wait_seconds: Annotated[
        float, typer.Option(help="Seconds between polls for versions; 0 polls once.")
    ] = 1.0,
    max_num_load_retries: Annotated[int, typer.Option(help="Retries of a version that cannot be loaded.")] = 5,
    load_retry_interval_micros: Annotated[int, typer.Option(help="Microseconds between retries.")] = 60_000_000,
    allow_version_labels_for_unavailable_models: Annotated[
        bool, typer.Option("--allow-version-labels-for-unavailable-models", help="Let labels wait for their versions.")
    ] = False,
    rest_api_enable_cors_support: Annotated[
        bool, typer.Option("--rest-api-enable-cors-support", help="Let the pages of other origins read answers.")
    ] = False,
    request_log: Annotated[str | None, typer.Option(help="Folder, gs:// or s3:// URI for a log of requests.")] = None,
    request_log_sample: options.Sample = 1.0,
    request_log_fields: options.Fields = "",
    env: options.Env = None,
) -> None:
    """Serve models over gRPC and REST as TensorFlow Serving does: for laptops, validation and tests."""
    from prometheus_client import CollectorRegistry

    from serving.request_log import LogOptions, RequestLog
    from serving.server.model_sources import BasePaths, ConfigFile

    options.silence_tensorflow()
    config = ServerConfig(
        host=host,
        grpc_port=port,
        rest_port=rest_api_port,
        poll_seconds=file_system_poll_wait_seconds,
        max_load_retries=max_num_load_retries,
        retry_seconds=load_retry_interval_micros / 1e6,
        allow_unavailable_labels=allow_version_labels_for_unavailable_models,
        cors=rest_api_enable_cors_support,
    )
    places = {
        "MODEL or --store": model or store,
        "--model-base-path": model_base_path,
        "--model-config-file": model_config_file,
    }
    if len(given := [name for name, value in places.items() if value]) > 1:
        raise ConfigError(f"{' and '.join(given)} each say what to serve: give one of them")
    source: ModelSource
    if model_config_file:
        poll, labels = model_config_file_poll_wait_seconds, config.allow_unavailable_labels
        source = ConfigFile(model_config_file, poll, allow_unavailable_labels=labels)
    elif model_base_path:
        source = BasePaths.single(model_name, model_base_path)
    else:
        source = _store_models(model, store, env)
    fields, registry = split_fields(request_log_fields), CollectorRegistry()
    # The log is written to the end when the server has answered its last request.
    opened = RequestLog(LogOptions(request_log, request_log_sample, fields), registry) if request_log else nullcontext()
    with opened as log:
        if log:
            echo(f"log   {request_log}: {describe_fields(fields, '--request-log-fields')}")
        _run(source, config, log, registry)


def _store_models(model: str | None, uri: str | None, env: str | None) -> ModelSource:
    from serving.server.model_sources import StoreModels

    environment = open_environment(env)
    store = environment.store(uri)
    models = store.models()
    if not models:
        where = uri or environment.state.store
        raise StoreError(f"the model store {where} is empty: `slipway run` trains and pushes a model")
    if model is not None and model not in models:
        raise StoreError(f"there is no model {model!r} in the store; models: {', '.join(models)}")
    return StoreModels(store, [model] if model else [], environment.settings.home / "serving")


def _run(
    source: ModelSource, config: ServerConfig, request_log: RequestLog | None, registry: CollectorRegistry
) -> None:
    """Serves until SIGTERM or Ctrl-C; a second one drops the requests in flight."""
    from serving.server.server import ModelServer

    print_log()
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    with ModelServer(source, config, request_log) as server:
        server.metrics.add_registry(registry)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        rest = f"http://{address_of(config.host, server.rest_port)}"
        echo(f"gRPC  {address_of(config.host, server.grpc_port)}\nREST  {rest}")
        for name in (name for name, is_available in server.manager.availability().items() if is_available):
            with server.manager.use(name) as servable:
                echo(f"try   {_try(rest, name, servable)}")
        echo("For laptops, validation and tests: in the cluster the image tensorflow/serving serves the same way.")
        stop.wait()
        echo("finishing the requests in flight; interrupt again to drop them")


def _try(rest: str, name: str, servable: Servable) -> str:
    """A request for the shell: a picture, or the first row of training where the model has it and it is short."""
    from serving.client.rows import input_features, rows_of_examples
    from serving.protocol.urls import model_path
    from slipway.data.tensors import is_only_image

    raw = servable.signatures.get(RAW)
    if raw is not None and is_only_image(input_features(servable.signatures)):
        picture = r'''"{\"instances\": [{\"b64\": \"$(base64 < IMAGE.png | tr -d '\n')\"}]}"'''
        return f"curl -d {picture} {rest}{model_path(name)}:predict"
    with suppress(StoreError, ValueError, TypeError):  # a model of another tool has no such rows
        [row] = rows_of_examples(read_golden(servable.path).serialized()[:1])
        body = json.dumps({"signature_name": RAW, "instances": [row]})
        if raw and raw.inputs.keys() - raw.defaults.keys() <= row.keys() and len(body) <= MOST_CURL_CHARACTERS:
            return f"curl -d {shlex.quote(body)} {rest}{model_path(name)}:predict"
    return f"curl {rest}{model_path(name)}/metadata"
