"""`slipway request-log`: the request log as a sidecar of TensorFlow Serving."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.options import MAX_PORT, describe_fields, split_fields
from cli.output import echo, print_log

if TYPE_CHECKING:
    from serving.request_log.sidecar import SidecarOptions


def request_log(
    sink: Annotated[str, typer.Option(help="Folder or gs:// URI for the Parquet files.")],
    upstream_rest: Annotated[str, typer.Option(help="TensorFlow Serving's REST address.")] = "127.0.0.1:8601",
    upstream_grpc: Annotated[str, typer.Option(help="TensorFlow Serving's gRPC address.")] = "127.0.0.1:8600",
    rest_port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="Listen for REST; 0 takes a free port.")] = 8501,
    grpc_port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="Listen for gRPC; 0 takes a free port.")] = 8500,
    metrics_port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="For Prometheus; 0 takes a free port.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104
    sample: options.Sample = 1.0,
    fields: options.Fields = "",
    rotate_seconds: Annotated[float, typer.Option(help="Write a file when its oldest row is this old.")] = 300.0,
    rotate_bytes: Annotated[int, typer.Option(help="Or when its rows take this much memory.")] = 16 << 20,
) -> None:
    """Log a sample of the requests to TensorFlow Serving as Parquet for BigQuery, as a proxy in front of it."""
    import uvloop

    from serving.request_log import LogOptions
    from serving.request_log.sidecar import SidecarOptions, run_sidecar

    print_log()
    sidecar = SidecarOptions(upstream_rest, upstream_grpc, host, rest_port, grpc_port, metrics_port)
    allowed = split_fields(fields)
    log_options = LogOptions(sink, sample, allowed, rotate_seconds=rotate_seconds, rotate_bytes=rotate_bytes)

    def print_ports(ports: SidecarOptions) -> None:
        echo(f"gRPC  {host}:{ports.grpc_port} -> {upstream_grpc}\nREST  {host}:{ports.rest_port} -> {upstream_rest}")
        echo(f"metrics on port {ports.metrics_port}; {describe_fields(allowed, '--fields')}")

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_sidecar(sidecar, log_options, stop, print_ports)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
