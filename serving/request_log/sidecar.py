"""The request log as a sidecar: a proxy for REST and gRPC in one event loop, in front of TensorFlow Serving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, start_http_server

from serving.protocol.addresses import listen, parse_address, port_taken
from serving.protocol.bodies import Bodies
from serving.protocol.http_server import HttpServer
from serving.protocol.limits import MAX_PROXIED_BYTES
from serving.request_log.grpc_proxy import GrpcProxy
from serving.request_log.log import LogOptions, RequestLog
from serving.request_log.rest_proxy import RestProxy, UpstreamVersions

# Their sum is below the 30 s that Kubernetes grants after the preStop hook.
DRAIN_SECONDS = 10
FLUSH_SECONDS = 15.0


@dataclass(frozen=True)
class SidecarOptions:
    """Addresses; port 0 takes a free one."""

    upstream_rest: str
    upstream_grpc: str
    host: str = "0.0.0.0"  # noqa: S104 - it takes the place of TensorFlow Serving
    rest_port: int = 8501
    grpc_port: int = 8500
    metrics_port: int = 9090


async def run_sidecar(
    options: SidecarOptions, log_options: LogOptions, stop: asyncio.Event, on_ready: Callable[[SidecarOptions], None]
) -> None:
    """Forwards requests until `stop`; then lets those in flight end, and writes the log.

    `on_ready` gets the options with the ports in use. Raises `ConfigError` if a port is taken, or an address is none.
    """
    registry = CollectorRegistry()
    upstream_grpc = parse_address(options.upstream_grpc, "--upstream-grpc")
    log, bodies = RequestLog(log_options, registry, UpstreamVersions(options.upstream_rest)), Bodies(MAX_PROXIED_BYTES)
    try:
        with (
            listen(options.host, options.rest_port, "REST", "--rest-port") as rest_socket,
            listen(options.host, options.grpc_port, "gRPC", "--grpc-port") as grpc_socket,
            _metrics_server(options, registry) as metrics_port,
        ):
            grpc_proxy = GrpcProxy(upstream_grpc, log)
            await grpc_proxy.start(grpc_socket)
            rest = RestProxy(options.upstream_rest, log, bodies)
            rest_server = HttpServer(rest, DRAIN_SECONDS, own_headers=False)  # the upstream's headers pass through
            serving = asyncio.create_task(rest_server.serve([rest_socket]))
            while not rest_server.started:
                await asyncio.sleep(0.005)
            rest_port, grpc_port = rest_socket.getsockname()[1], grpc_socket.getsockname()[1]
            on_ready(replace(options, rest_port=rest_port, grpc_port=grpc_port, metrics_port=metrics_port))
            await stop.wait()
            rest_server.should_exit = True
            await asyncio.gather(serving, grpc_proxy.stop(DRAIN_SECONDS))
            await rest.close()
    finally:
        await asyncio.to_thread(log.close, FLUSH_SECONDS)


@contextmanager
def _metrics_server(options: SidecarOptions, registry: CollectorRegistry) -> Iterator[int]:
    try:
        server, thread = start_http_server(options.metrics_port, options.host, registry)
    except OSError as error:
        raise port_taken(options.host, options.metrics_port, "metrics", "--metrics-port", error) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
