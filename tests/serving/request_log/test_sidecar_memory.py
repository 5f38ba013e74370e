"""The memory of a real sidecar, whose container has 512 MiB.

The log's queues may take 96 MiB of it, which no test fills.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from serving.protocol.limits import MAX_PROXIED_BYTES
from serving.request_log.http2 import PREFACE
from tests.serving.request_log.asking import UNLIMITED, Reply
from tests.serving.request_log.upstream import Answer, Seen, Upstream, doubling_request

MIB = 1 << 20
PREDICT = "/tensorflow.serving.PredictionService/Predict"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
INITIAL_WINDOW_SIZE = 4


@dataclass
class Process:
    """A sidecar in a process of its own."""

    pid: int
    rest_port: int
    grpc_port: int

    def peak_mib(self) -> int:
        [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(peak) >> 10


@contextmanager
def process(served: Upstream, sink: Path) -> Iterator[Process]:
    command = [str(Path(sys.executable).parent / "slipway"), "request-log", "run", "--sink", str(sink)]
    command += ["--host", "127.0.0.1", "--rest-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    command += ["--upstream-rest", served.rest_address, "--upstream-grpc", served.grpc_address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            lines = [running.stdout.readline() for _ in range(2)]
            grpc_port, rest_port = (int(line.split(" ->")[0].rsplit(":")[-1]) for line in lines)
            yield Process(running.pid, rest_port, grpc_port)
        finally:
            running.terminate()


def channel(sidecar: Process) -> grpc.Channel:
    options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}", options=options)


@pytest.mark.slow
def test_rest_bodies_of_many_clients_stay_within_the_memory_of_the_container(served: Upstream, tmp_path: Path) -> None:
    goes_on, count, body = threading.Event(), 6, b"x" * (MAX_PROXIED_BYTES - 1000)

    def hold(seen: Seen) -> Answer:
        assert goes_on.wait(20)
        return 200, {}, b"{}"

    served.rest.answer = hold
    with process(served, tmp_path) as sidecar, ThreadPoolExecutor(count) as clients:
        port = sidecar.rest_port
        asked = [clients.submit(Reply, port, "POST", "/v1/models/m:predict", body) for _ in range(count)]
        deadline = time.monotonic() + 15
        while sum(each.done() for each in asked) < count - 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        goes_on.set()
        assert sorted(each.result().status for each in asked) == [200] + [503] * (count - 1)
        assert sidecar.peak_mib() < 400


@pytest.mark.slow
@pytest.mark.parametrize(("count", "size", "connections"), [(10, 60 * MIB, 10), (2000, MIB, 20)])
def test_grpc_messages_that_come_at_once_are_not_held(
    served: Upstream, tmp_path: Path, count: int, size: int, connections: int
) -> None:
    message = bytes(size)
    with process(served, tmp_path) as sidecar, ExitStack() as open_channels:
        channels = [open_channels.enter_context(channel(sidecar)) for _ in range(connections)]
        calls = [channels[n % connections].unary_unary(PREDICT).future(message, timeout=120) for n in range(count)]
        ordinary = channels[0].unary_unary(PREDICT)
        assert ordinary(doubling_request(1.0).SerializeToString(), timeout=60)
        # The upstream has read each message to its end: that it is no request is found out then.
        assert {call.code() for call in calls} == {grpc.StatusCode.INTERNAL}
        assert sidecar.peak_mib() < 300


@pytest.mark.slow
def test_grpc_answers_that_come_at_once_are_not_held(served: Upstream, tmp_path: Path) -> None:
    request = doubling_request(*[1.0] * (2 * MIB)).SerializeToString()  # 16 MiB
    with process(served, tmp_path) as sidecar, ExitStack() as open_channels:
        channels = [open_channels.enter_context(channel(sidecar)) for _ in range(12)]
        calls = [each.unary_unary(PREDICT).future(request, timeout=120) for each in channels]
        assert all(len(call.result()) > 16 * MIB for call in calls)
        assert sidecar.peak_mib() < 250


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def predict_headers() -> bytes:
    """Literals, without compression."""
    fields = {":method": "POST", ":scheme": "http", ":path": PREDICT, ":authority": "x", "te": "trailers"}
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in (fields | {"content-type": "application/grpc"}).items()
    )


def begin(sidecar: Process, *frames: bytes) -> socket.socket:
    """A client that says at first that it takes answers of any size."""
    connection = socket.create_connection(("127.0.0.1", sidecar.grpc_port), 10)
    most = 2**31 - 1
    settings = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, most))
    window = frame(WINDOW_UPDATE, 0, 0, (most - 65_535).to_bytes(4))
    connection.sendall(b"".join([PREFACE, settings, window, *frames]))
    return connection


@pytest.mark.slow
def test_grpc_clients_that_do_not_read_are_not_written_for(served: Upstream, tmp_path: Path) -> None:
    request = doubling_request(*[1.0] * (MIB // 2)).SerializeToString()  # 4 MiB
    message = b"\0" + len(request).to_bytes(4) + request
    calls = []
    for stream in (1, 3):
        pieces = [message[at : at + 16_384] for at in range(0, len(message), 16_384)]
        calls += [frame(HEADERS, 4, stream, predict_headers())]
        calls += [frame(DATA, at == len(pieces) - 1, stream, piece) for at, piece in enumerate(pieces)]
    with process(served, tmp_path) as sidecar, ExitStack() as stack, channel(sidecar) as ordinary:
        for _ in range(15):
            stack.enter_context(begin(sidecar, *calls))
        assert ordinary.unary_unary(PREDICT)(doubling_request(1.0).SerializeToString(), timeout=60)
        assert sidecar.peak_mib() < 250


@pytest.mark.slow
def test_grpc_streams_that_do_not_end_take_no_more_than_copies_for_the_log(served: Upstream, tmp_path: Path) -> None:
    """Each announces 60 MiB, and sends a little; the upstream's threads wait for none of them."""
    headers = predict_headers().replace(b"Predict", b"Missing")  # of a method that the upstream does not have
    announced = b"\0" + (60 * MIB).to_bytes(4) + bytes(500)
    streams = [
        part
        for stream in range(1, 41, 2)
        for part in (frame(HEADERS, 4, stream, headers), frame(DATA, 0, stream, announced))
    ]
    with process(served, tmp_path) as sidecar, ExitStack() as stack, channel(sidecar) as ordinary:
        for _ in range(100):
            stack.enter_context(begin(sidecar, *streams))
        assert ordinary.unary_unary(PREDICT)(doubling_request(1.0).SerializeToString(), timeout=60)
        assert sidecar.peak_mib() < 250
