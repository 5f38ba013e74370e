"""gRPC through the sidecar: silent calls, floods, and connections that are too many or over."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import grpc
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hpack import Encoder

from serving.protocol.protos import prediction_service_pb2_grpc
from serving.request_log import LogOptions, RequestLog, grpc_calls, grpc_proxy
from serving.request_log.grpc_proxy import GrpcProxy
from serving.request_log.http2 import ENHANCE_YOUR_CALM, PREFACE, BrokenConnectionError, FrameReader
from serving.request_log.sidecar import SidecarOptions
from tests.serving.request_log.asking import channel, stub
from tests.serving.request_log.calls import read_log
from tests.serving.request_log.upstream import Upstream, doubling_request, sidecar
from tests.serving.server.http_calls import connected

DATA, PRIORITY, SETTINGS, PING, WINDOW_UPDATE, UNKNOWN = 0, 2, 4, 6, 8, 12


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def blocked(served: Upstream) -> tuple[threading.Semaphore, threading.Event]:
    """Calls of the upstream count themselves in the first, and wait for the second."""
    entered, released = threading.Semaphore(0), threading.Event()

    def behave(context: Any) -> None:
        entered.release()
        released.wait(20)

    served.service.behave = behave
    return entered, released


def test_grpc_call_of_which_nothing_passes_for_long_is_ended_and_told_why(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_proxy, "_FIRST_SECONDS", 0.1)
    monkeypatch.setattr(grpc_proxy, "CALL_SILENCE_SECONDS", 0.6)
    entered, released = blocked(served)
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        with channel(ports) as to_sidecar:
            watch = health_pb2_grpc.HealthStub(to_sidecar).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING  # its headers are answered
            call = prediction_service_pb2_grpc.PredictionServiceStub(to_sidecar).Predict.future(doubling_request(1.0))
            assert entered.acquire(timeout=10)
            for silent in (call.exception(10), caught_by(watch)):
                assert silent
                assert silent.code() is grpc.StatusCode.UNAVAILABLE
                assert "0.6 seconds" in silent.details()
        served.service.behave = lambda _: None
        assert stub(ports).Predict(doubling_request(1.0), timeout=10).outputs
        released.set()
    assert sorted(row["error"] or "" for row in read_log(tmp_path)) == ["", "UNAVAILABLE"]


def caught_by(stream: Any) -> grpc.RpcError | None:
    try:
        next(stream)
    except grpc.RpcError as error:
        return error
    return None


def test_grpc_call_of_which_something_passes_goes_on(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_proxy, "_FIRST_SECONDS", 0.1)
    monkeypatch.setattr(grpc_proxy, "CALL_SILENCE_SECONDS", 0.6)
    with (
        sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports,
        channel(ports) as to_sidecar,
    ):
        watch = health_pb2_grpc.HealthStub(to_sidecar).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        for number in range(6):
            time.sleep(0.2)
            status = health_pb2.HealthCheckResponse.ServingStatus
            told = status.SERVING if number % 2 else status.NOT_SERVING
            served.health.set("", told)
            assert next(watch).status == told
        watch.cancel()


def test_grpc_silent_calls_make_room_where_there_is_none(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(grpc_proxy, "SILENCE_IN_A_CROWD_SECONDS", 0.3)
    entered, released = blocked(served)
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        calls = []
        for _ in range(2):
            calls.append(stub(ports).Predict.future(doubling_request(1.0)))
            assert entered.acquire(timeout=10)
        time.sleep(0.4)
        served.service.behave = lambda _: None
        assert stub(ports).Predict(doubling_request(1.0), timeout=10).outputs
        assert calls[0].code() is grpc.StatusCode.UNAVAILABLE
        assert "made room" in calls[0].details()
        released.set()
        assert calls[1].result().outputs, "the other one goes on"


def test_grpc_address_with_most_connections_makes_room_for_another(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_CONNECTIONS", 3)
    entered, released = blocked(served)
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        calls = []
        for _ in range(3):
            calls.append(stub(ports).Predict.future(doubling_request(1.0)))
            assert entered.acquire(timeout=10)

        def is_admitted(source: str) -> bool:
            address = ("127.0.0.1", ports.grpc_port)
            with socket.create_connection(address, 10, (source, 0)) as client, suppress(ConnectionError):
                client.sendall(PREFACE + frame(SETTINGS))
                return client.recv(9)[3:4] == bytes([SETTINGS])
            return False

        assert not is_admitted("127.0.0.1")
        assert is_admitted("127.0.0.2")
        released.set()
        assert sorted(call.code().name for call in calls) == ["OK", "OK", "UNAVAILABLE"]


@pytest.mark.parametrize(
    "flood",
    [
        frame(PING, bytes(8)),
        frame(PING, bytes(8), flags=1),
        frame(SETTINGS),
        frame(DATA, stream=1),
        frame(DATA, bytes([0]), flags=8, stream=1),
        frame(DATA, b"of no call", stream=1),
        frame(PRIORITY, bytes(5), stream=1),
        frame(WINDOW_UPDATE, b"\0\0\0\1"),
        frame(UNKNOWN, b"anything"),
    ],
)
def test_frames_that_are_no_part_of_a_call_are_bounded(flood: bytes) -> None:
    calls = grpc_calls.Calls(grpc_calls.Copies(MagicMock(spec=RequestLog)))
    reader = FrameReader(calls.requests, {})
    reader.feed(flood * 1_000)
    with pytest.raises(BrokenConnectionError) as caught:
        reader.feed(flood * 50)
    assert caught.value.code == ENHANCE_YOUR_CALM


def test_frames_beside_calls_are_not_bounded() -> None:
    """A client that measures its windows sends pings and more beside each part of a call."""
    calls = grpc_calls.Calls(grpc_calls.Copies(MagicMock(spec=RequestLog)))
    requests, answers = FrameReader(calls.requests, {}), FrameReader(calls.answers, {})
    for stream in range(1, 4_001, 2):
        requests.feed(frame(1, Encoder().encode([(b":path", b"/a/b")]), flags=4, stream=stream))
        requests.feed(frame(PING, bytes(8)) * 5)
        answers.feed(frame(DATA, b"an answer", stream=stream))
        requests.feed((frame(WINDOW_UPDATE, b"\0\0\0\1") + frame(PING, bytes(8))) * 5)
        calls.end(stream, grpc.StatusCode.OK)


def test_grpc_client_that_floods_is_told_to_calm_down(ports: SidecarOptions) -> None:
    with connected(ports.grpc_port) as flooding:
        flooding.send(PREFACE + frame(SETTINGS))
        flooding.send(frame(UNKNOWN) * 1_000)
        flooding.socket.settimeout(10)
        said = b""
        while data := flooding.socket.recv(1 << 16):
            said += data
        at = said.index(b"\x07\0\0\0\0\0")  # GOAWAY on stream 0
        assert int.from_bytes(said[at + 10 : at + 14]) == ENHANCE_YOUR_CALM
        assert b"too many frames" in said[at:]


def test_grpc_connections_that_are_refused_are_told_once_a_second(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(grpc_proxy, "_WARNING_SECONDS", 0.5)
    entered, released = blocked(served)
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        call = stub(ports).Predict.future(doubling_request(1.0))
        assert entered.acquire(timeout=10)

        def refuse() -> None:
            with connected(ports.grpc_port) as refused, suppress(ConnectionError):
                refused.seconds_until_closed(10)

        for _ in range(20):
            refuse()
        time.sleep(0.5)
        refuse()
        released.set()
        assert call.result().outputs
    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    counts = [int(line.split("refused: ")[1].split(";")[0]) for line in lines]
    assert sum(counts) == 21
    assert len(counts) <= 3


def test_grpc_connection_that_is_over_is_forgotten_and_asks_after_dead_peers(served: Upstream) -> None:
    """Nothing, such as a timer, keeps it: many clients that come and go would fill the memory."""
    host, port = served.grpc_address.split(":")

    async def kept() -> list[object]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            proxy = GrpcProxy((host, int(port)), MagicMock(spec=RequestLog))
            await proxy.start(listener)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(PREFACE + frame(SETTINGS))
            await reader.readexactly(9)
            [connection] = proxy._connections
            for side in (connection.client, connection.client.other):
                assert side._transport
                one = side._transport.get_extra_info("socket")
                assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000
            of_it = weakref.ref(connection)
            del connection, side, one
            writer.close()
            for _ in range(100):
                await asyncio.sleep(0.02)
                gc.collect()
                if of_it() is None:
                    break
            await proxy.stop(0)
            return gc.get_referrers(of_it()) if of_it() else []

    assert not uvloop.run(kept())
