"""The sidecar as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from cli.main import app
from serving.protocol.protos import prediction_service_pb2_grpc
from slipway.errors import StoreError
from tests.serving.request_log.calls import features_of, read_log
from tests.serving.request_log.upstream import Upstream, doubling_request, upstream

SLIPWAY = Path(sys.executable).parent / "slipway"
BODY = json.dumps({"instances": [{"x": 1.5, "y": 2.5}]}).encode()


class Running:
    """A process that has printed its ports."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        self.output = "".join(lines)
        found = [re.search(r":(\d+) ->|port (\d+)", line) for line in lines]
        self.grpc, self.rest, self.metrics = (int(match[1] or match[2]) for match in found if match)

    def predict_rest(self, request_id: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.rest, timeout=20)
        connection.request("POST", "/v1/models/m:predict", BODY, {"x-request-id": request_id})
        status = connection.getresponse().status
        connection.close()
        return status

    def predict_grpc(self, request_id: str) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            stub.Predict(doubling_request(1.5), metadata=(("x-request-id", request_id),), timeout=20)

    def metric(self, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=20)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        return float(next(line.split()[1] for line in page.splitlines() if line.startswith(name)))


@contextmanager
def running(served: Upstream, sink: Path | str, *options: str) -> Iterator[Running]:
    command = [
        str(SLIPWAY), "request-log", "run", "--host=127.0.0.1", "--rest-port=0", "--grpc-port=0", "--metrics-port=0",
        f"--upstream-rest={served.rest_address}", f"--upstream-grpc={served.grpc_address}", f"--sink={sink}", *options,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served() -> Iterator[Upstream]:
    with upstream() as served:
        yield served


def test_request_log_sigterm_writes_what_was_logged(served: Upstream, tmp_path: Path) -> None:
    with running(served, tmp_path, "--fields=x, z") as sidecar:
        assert "logged features: x, z" in sidecar.output
        assert sidecar.predict_rest("a") == 200
        sidecar.predict_grpc("b")
        while sidecar.metric("slipway_request_log_waiting_bytes") == 0:
            time.sleep(0.01)
        assert not list(tmp_path.iterdir())
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.process.wait(10) == 0
    rows = {row["request_id"]: features_of(row) for row in read_log(tmp_path)}
    assert rows == {"a": {"x": [1.5]}, "b": {"x": [1.5]}}


def test_request_log_sigterm_lets_requests_in_flight_end(served: Upstream, tmp_path: Path) -> None:
    entered, released = threading.Event(), threading.Event()

    def behave(context: object) -> None:
        entered.set()
        released.wait(10)

    served.service.behave = behave
    with running(served, tmp_path) as sidecar:
        failures: list[BaseException] = []

        def predict() -> None:
            try:
                sidecar.predict_grpc("late")
            except grpc.RpcError as error:
                failures.append(error)

        thread = threading.Thread(target=predict)
        thread.start()
        assert entered.wait(10)
        sidecar.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        released.set()
        thread.join()
        assert sidecar.process.wait(10) == 0
    served.reset()
    assert not failures
    assert [row["request_id"] for row in read_log(tmp_path)] == ["late"]


def test_request_log_rotates_while_it_serves(served: Upstream, tmp_path: Path) -> None:
    with running(served, tmp_path, "--rotate-seconds=0.2") as sidecar:
        assert "no features are logged" in sidecar.output
        sidecar.predict_rest("a")
        deadline = time.monotonic() + 10
        while sidecar.metric("slipway_request_log_logged_total") < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [row["features"] for row in read_log(tmp_path)] == [[]]


def test_request_log_sink_that_cannot_be_written_fails_no_prediction(served: Upstream, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with running(served, tmp_path / "file", "--rotate-seconds=0.1") as sidecar:
        assert sidecar.predict_rest("a") == 200
        time.sleep(0.3)
        assert sidecar.predict_rest("b") == 200
        sidecar.predict_grpc("c")


def test_request_log_neither_loads_tensorflow_nor_starts_slowly(served: Upstream, tmp_path: Path) -> None:
    code = (
        "import sys, serving.request_log.sidecar, uvloop; "
        "print([name for name in ('tensorflow', 'keras', 'apache_beam', 'kfp') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    begin = os.times()
    with running(served, tmp_path):
        pass
    end = os.times()
    # Processor time of the child: the wall clock also counts what else runs on the machine.
    assert end.children_user + end.children_system - begin.children_user - begin.children_system < 2.5


@pytest.mark.parametrize("flag", ["--rest-port", "--grpc-port", "--metrics-port"])
def test_request_log_port_that_is_none_is_wrong_usage(tmp_path: Path, flag: str) -> None:
    assert CliRunner().invoke(app, ["request-log", "run", "--sink", str(tmp_path), flag, "65536"]).exit_code == 2


def test_request_log_sink_of_an_unknown_kind_is_refused() -> None:
    ports = ["--rest-port=0", "--grpc-port=0", "--metrics-port=0"]
    result = CliRunner().invoke(app, ["request-log", "run", "--sink=hdfs://bucket/log", *ports])
    assert isinstance(result.exception, StoreError)
    assert "hdfs:// is not supported" in str(result.exception)


@pytest.mark.parametrize("sample", ["-0.1", "1.5"])
def test_request_log_sample_out_of_range_is_refused(sample: str) -> None:
    result = CliRunner().invoke(app, ["request-log", "run", "--sink=log", f"--sample={sample}"])
    assert result.exit_code == 2
