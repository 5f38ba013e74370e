"""A stand-in for TensorFlow Serving that shows what reached it and answers what a test wants, and a sidecar."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.protocol.protos import prediction_service_pb2_grpc
from serving.protocol.tensor_protos import array_of
from serving.request_log import LogOptions
from serving.request_log.sidecar import SidecarOptions, run_sidecar
from tests.serving.request_log.calls import predict_answer, predict_request

VERSION = 3


@dataclass
class Seen:
    """One REST request, or one gRPC call's metadata."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


class _Rest(BaseHTTPRequestHandler):
    """Answers `answer` of its server; predictions are twice the instances unless it says otherwise."""

    protocol_version = "HTTP/1.1"
    server: RestUpstream

    def do_GET(self) -> None:
        body = self._body()
        seen = Seen(self.command, self.path, self.headers.items(), body)
        self.server.seen.append(seen)
        status, headers, answer = self.server.answer(seen)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_: object) -> None: ...


Answer = tuple[int, dict[str, str], bytes]


class RestUpstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Rest)
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], Answer] = predictions

    def handle_error(self, *_: object) -> None: ...


def predictions(seen: Seen) -> Answer:
    """As TensorFlow Serving answers: status for GET, twice each instance for POST."""
    headers = {"Content-Type": "application/json"}
    if seen.method == "GET":
        states = [{"version": "2", "state": "END"}, {"version": str(VERSION), "state": "AVAILABLE"}]
        if seen.target.endswith("/labels/canary"):
            states = [{"version": "9", "state": "AVAILABLE"}]
        return 200, headers, json.dumps({"model_version_status": states}).encode()
    try:
        instances = json.loads(seen.body)["instances"]
    except ValueError:
        return 400, headers, b'{"error": "JSON Parse error"}'
    return 200, headers, json.dumps({"predictions": [2 * each["x"] for each in instances]}).encode()


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Doubles the input `x`; keeps each call's metadata and the seconds that it had left."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.metadata: list[list[tuple[str, str | bytes]]] = []
        self.seconds: list[float] = []
        self.cancelled = threading.Event()
        self.behave: Callable[[Any], object] = lambda context: None

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.metadata.append(list(context.invocation_metadata()))
        self.seconds.append(context.time_remaining())
        context.add_callback(self.cancelled.set)
        self.behave(context)
        return predict_answer({"y": 2 * array_of(request.inputs["x"])}, VERSION, request.model_spec.name)


@dataclass
class Upstream:
    rest: RestUpstream
    grpc_port: int
    service: PredictionService
    health: Any
    grpc: Any

    def stop_grpc(self) -> None:
        """Breaks off what is under way."""
        self.grpc.stop(None)

    def reset(self) -> None:
        """Forgets what it saw, and behaves well again."""
        self.rest.seen.clear()
        self.rest.answer = predictions
        self.service.reset()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    @property
    def rest_address(self) -> str:
        return f"127.0.0.1:{self.rest.server_port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"


@contextmanager
def upstream(rest_port: int = 0, grpc_port: int = 0) -> Iterator[Upstream]:
    rest, service = RestUpstream(rest_port), PredictionService()
    checks = health.HealthServicer()
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    server.start()
    thread = threading.Thread(target=rest.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Upstream(rest, port, service, checks, server)
    finally:
        rest.shutdown()
        rest.server_close()
        server.stop(None).wait()
        thread.join()


@dataclass
class Sidecar:
    """A sidecar in a thread of this process."""

    options: SidecarOptions
    log_options: LogOptions
    ports: SidecarOptions = field(init=False)

    @contextmanager
    def running(self) -> Iterator[SidecarOptions]:
        ready, stop, loop = threading.Event(), asyncio.Event(), uvloop.new_event_loop()

        def on_ready(ports: SidecarOptions) -> None:
            self.ports = ports
            ready.set()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(run_sidecar(self.options, self.log_options, stop, on_ready))

        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 10
        while not ready.wait(0.01):
            assert thread.is_alive(), "the sidecar did not start"
            assert time.monotonic() < deadline
        try:
            yield self.ports
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(40)


def sidecar(upstream_rest: str, upstream_grpc: str, log_options: LogOptions) -> Sidecar:
    options = SidecarOptions(upstream_rest, upstream_grpc)
    free = replace(options, host="127.0.0.1", rest_port=0, grpc_port=0, metrics_port=0)
    return Sidecar(free, log_options)


def doubling_request(*values: float, model: str = "m") -> Any:
    return predict_request({"x": np.array(values)}, model=model)
