"""gRPC and REST in one process, serving the same models."""

from __future__ import annotations

import threading
import time
from concurrent import futures
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.protocol.addresses import add_grpc_port, listen
from serving.protocol.http_server import HttpServer
from serving.protocol.limits import MAX_BODY_BYTES
from serving.protocol.protos import model_service_pb2_grpc, prediction_service_pb2_grpc
from serving.request_log import RequestLog
from serving.server.config import ServerConfig
from serving.server.grpc_services import ModelService, PredictionService
from serving.server.metrics import Metrics
from serving.server.model_manager import ModelManager
from serving.server.model_sources import ModelSource
from serving.server.rest_api import RestApi, RestApp

# How long requests in flight may take once the server is told to stop.
GRACE_SECONDS = 20.0
# gRPC's worker threads.
THREADS = 8
_SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


class ModelServer:
    """TensorFlow Serving's contract on this machine: for laptops, validation and tests.

    In the cluster the image tensorflow/serving serves. `with ModelServer(source, config) as server: …` answers from the
    start of the block, and has answered all accepted requests at its end. The caller closes the request log.
    """

    def __init__(
        self, source: ModelSource, config: ServerConfig | None = None, request_log: RequestLog | None = None
    ) -> None:
        self._config = config or ServerConfig()
        self._request_log = request_log
        self.manager = ModelManager(source, self._config)
        self.metrics = Metrics(self.manager.availability)
        self.grpc_port = 0
        self.rest_port = 0
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._grpc: Any = None
        self._rest: _RestServer | None = None

    def start(self) -> None:
        """Takes the ports, and loads the models; until that is done, every answer is 503, UNAVAILABLE or NOT_SERVING.

        Raises:
            ConfigError: a port is taken.
            StoreError: there is nothing to serve, or it cannot be loaded.
        """
        for service in _SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            self._grpc = self._new_grpc()
            self._grpc.start()  # at once: gRPC gives back the port of a server only if that was started
            self._rest = _RestServer(RestApi(self.manager, self.metrics, self._request_log), self._config)
            self.rest_port = self._rest.port
            self._rest.start()
            self.manager.start()
        except BaseException:
            self.stop()
            raise
        for service in _SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """Accepts no more requests, lets those in flight end within the grace, and frees the models."""
        until = time.monotonic() + GRACE_SECONDS
        self._health.enter_graceful_shutdown()
        stopped = self._grpc.stop(GRACE_SECONDS) if self._grpc else None
        if self._rest:
            self._rest.stop()
        if stopped:
            stopped.wait()
        self.manager.stop(max(until - time.monotonic(), 0.0))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _new_grpc(self) -> Any:
        server = grpc.server(
            futures.ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            options=[
                # A thread reads one message: all of them together take no more than bodies over REST.
                ("grpc.max_receive_message_length", MAX_BODY_BYTES // THREADS),
                ("grpc.max_send_message_length", -1),
                # Otherwise a second server takes the same port, and each gets some of the requests.
                ("grpc.so_reuseport", 0),
            ],
            compression=grpc.Compression.NoCompression,
        )
        service = PredictionService(self.manager, self.metrics, self._request_log)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self.manager), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.grpc_port = add_grpc_port(server, self._config.host, self._config.grpc_port, "--port")
        return server


class _RestServer:
    """The REST server, in a thread."""

    def __init__(self, api: RestApi, config: ServerConfig) -> None:
        self._app = RestApp(api, cors=config.cors)
        self._socket = listen(config.host, config.rest_port, "REST", "--rest_api_port")
        self.port: int = self._socket.getsockname()[1]
        self._server = HttpServer(self._app, GRACE_SECONDS)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="rest", daemon=True)

    def start(self) -> None:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread.ident:
            self._thread.join()
        self._app.close()
        self._socket.close()
