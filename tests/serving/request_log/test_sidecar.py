"""The sidecar as a whole: ports, and a sink that hangs."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.protocol.protos import prediction_service_pb2_grpc
from serving.protocol.tensor_protos import array_of
from serving.request_log import LogOptions
from serving.request_log import sidecar as sidecar_module
from serving.request_log.sidecar import run_sidecar
from slipway.errors import ConfigError
from tests.serving.request_log.asking import Reply, channel
from tests.serving.request_log.upstream import (
    Upstream,
    doubling_request,
    sidecar,
)


def test_many_clients_with_a_stalled_sink_are_all_answered(served: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_module, "FLUSH_SECONDS", 0.5)
    stalled = socket.create_server(("127.0.0.1", 0))
    query = f"scheme=http&endpoint_override=localhost:{stalled.getsockname()[1]}&retry_limit_seconds=2"
    options = LogOptions(
        f"gs://anonymous@b/log?{query}", rotate_seconds=0.05, rotate_bytes=5_000, buffer_bytes=10_000, fields=("*",)
    )
    running = sidecar(served.rest_address, served.grpc_address, options)

    def rest(number: int) -> Any:
        body = json.dumps({"instances": [{"x": number, "pad": "p" * 500}]}).encode()
        return json.loads(Reply(running.ports.rest_port, "POST", "/v1/models/m:predict", body).body)["predictions"]

    with running.running() as ports, ThreadPoolExecutor(8) as pool, channel(ports) as to_sidecar:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(to_sidecar).Predict
        over_rest = pool.map(rest, range(100))
        over_grpc = pool.map(lambda n: array_of(predict(doubling_request(n)).outputs["y"]).tolist(), range(100))
        assert list(over_rest) == list(over_grpc) == [[2 * number] for number in range(100)]
        page = urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics_port}/metrics").read().decode()
        stalled.close()
    name = 'slipway_request_log_dropped_total{reason="sink_full"}'
    dropped = next(line for line in page.splitlines() if line.startswith(name))
    assert float(dropped.split()[1]) > 50
    assert "slipway_request_log_logged_total 0.0" in page


@pytest.mark.parametrize("port", ["rest_port", "grpc_port", "metrics_port"])
def test_sidecar_port_that_is_taken_is_named(tmp_path: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        options = replace(sidecar("127.0.0.1:1", "127.0.0.1:1", LogOptions(str(tmp_path))).options, **{port: number})
        with pytest.raises(ConfigError, match=f"127.0.0.1:{number} for"):
            asyncio.run(run_sidecar(options, LogOptions(str(tmp_path)), asyncio.Event(), lambda ports: None))
