"""Answers as TensorFlow Serving does, one address for all pods: what each says is the test's to decide."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BOUNDS = [10.0 * 1.8**power for power in range(33)]


@dataclass
class Pod:
    """One server: its counters and its answers."""

    predictions: list[float] = field(default_factory=lambda: [0.25, 0.75])
    status: int = 200
    by_status: Counter[str] = field(default_factory=Counter)
    microseconds: list[float] = field(default_factory=list)
    # What the users of the service do between two readings of the metrics.
    errors_each_reading: int = 0
    requests_each_reading: int = 0
    latency: float = 1000.0

    def receive(self, requests: int, errors: int = 0) -> None:
        self.by_status.update({"OK": requests - errors, "INTERNAL": errors})
        self.microseconds += [self.latency] * (requests - errors)  # as TensorFlow Serving: no latency of an error

    def metrics(self, model: str) -> str:
        self.receive(self.requests_each_reading, self.errors_each_reading)
        name = ":tensorflow:serving:request_count"
        lines = [f"# TYPE {name} counter"]
        lines += [f'{name}{{model_name="{model}",status="{status}"}} {n}' for status, n in self.by_status.items()]
        name = ":tensorflow:serving:request_latency"
        labels = f'model_name="{model}",API="Predict",entrypoint="REST"'
        lines.append(f"# TYPE {name} histogram")
        ordered = sorted(self.microseconds)
        for bound in [*BOUNDS, float("inf")]:
            count = bisect_right(ordered, bound)
            lines.append(f'{name}_bucket{{{labels},le="{"+Inf" if bound == float("inf") else bound:}"}} {count}')
        lines.append(f"{name}_sum{{{labels}}} {sum(self.microseconds)}")
        lines.append(f"{name}_count{{{labels}}} {len(self.microseconds)}")
        return "\n".join(lines) + "\n"


class ModelServers:
    """A loopback server; `address(pod)` is where a pod's answers come from."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.pods: dict[str, Pod] = {}
        self.new_pod: Callable[[], Pod] = Pod
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def pod(self, name: str) -> Pod:
        return self.pods.setdefault(name, self.new_pod())

    def address(self, pod: dict[str, Any]) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{pod['metadata']['name']}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, pod: Pod, method: str, path: str, body: bytes, served: str) -> tuple[int, bytes]:
        if path == "/monitoring/prometheus/metrics":
            return 200, pod.metrics(self.model).encode()
        if method == "POST" and path == f"/v1/models/{self.model}/versions/{served}:predict":
            request = json.loads(body)
            pod.receive(1)
            if pod.status != 200:
                return pod.status, json.dumps({"error": "Could not find variable dense/kernel"}).encode()
            assert request["signature_name"] == "serving_default"
            assert all(list(one) == ["b64"] for one in request["instances"])
            return 200, json.dumps({"predictions": pod.predictions[: len(request["instances"])]}).encode()
        return 404, json.dumps({"error": f"Servable not found for request: {path}"}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        servers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                name, _, path = self.path[1:].partition("/")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with servers.lock:
                    served = self.headers.get("X-Served-Version", "")
                    code, answer = servers.answer(servers.pod(name), self.command, f"/{path}", body, served)
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None: ...

        return Handler
