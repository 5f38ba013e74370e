"""`slipway request-log`: the log as a sidecar of TensorFlow Serving, and the deletion of its rows."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.options import MAX_PORT, describe_fields, split_fields
from cli.output import echo, print_json, print_log, print_table
from slipway.errors import ConfigError

if TYPE_CHECKING:
    from serving.request_log.sidecar import SidecarOptions

app = typer.Typer(no_args_is_help=True)


@app.command()
def run(
    sink: Annotated[str, typer.Option(help="Folder, gs:// or s3:// URI for the Parquet files.")],
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


@app.command()
def delete(
    key: Annotated[
        list[str],
        typer.Option(metavar="NAME=VALUE", help="A logged feature, or request_id, and its value; all must fit."),
    ],
    model: Annotated[str | None, typer.Argument(help="Name of a model; all by default.")] = None,
    log: Annotated[str | None, typer.Option(help="Log of requests; request_log of the settings by default.")] = None,
    dry_run: options.DryRun = False,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Delete the rows of a key, as those of a person, from all files of the log. This cannot be undone."""
    from delivery.environment import open_environment
    from serving.request_log.deletion import delete_rows

    wanted = dict(one.partition("=")[::2] for one in key)
    if "" in wanted or "" in wanted.values() or len(wanted) < len(key):
        raise typer.BadParameter(f"{' '.join(key)}: write NAME=VALUE, each name once", param_hint="--key")
    where = log or open_environment(env).settings.request_log
    if not where:
        raise ConfigError("no log is named: give --log, or set request_log in settings/<environment>.yaml")
    found = list(delete_rows(where, model, wanted, dry_run=dry_run))
    rows = sum(one.rows for one in found)
    if as_json:
        print_json({"dry_run": dry_run, "rows": rows, "files": [one._asdict() for one in found]})
        return
    print_table(["file", "rows", "of"], [[one.file, f"{one.rows:,}", f"{one.of:,}"] for one in found])
    echo(f"{'Would delete' if dry_run else 'Deleted'} {rows:,} rows of {len(found):,} files in {where}")
