"""gRPC through the sidecar: what passes, and what is logged."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import grpc
import numpy as np
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol.protos import prediction_service_pb2_grpc
from serving.protocol.tensor_protos import array_of
from serving.request_log import LogOptions, RequestLog, grpc_calls, grpc_proxy
from serving.request_log.grpc_proxy import GrpcProxy
from serving.request_log.http2 import PREFACE
from serving.request_log.sidecar import SidecarOptions
from tests.serving.request_log.asking import channel, stub
from tests.serving.request_log.calls import features_of, predict_request, read_log
from tests.serving.request_log.upstream import (
    Upstream,
    doubling_request,
    sidecar,
    upstream,
)
from tests.serving.server.http_calls import connected


def test_grpc_prediction_passes_and_is_logged(served: Upstream, tmp_path: Path) -> None:
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path), fields=("x",))).running() as ports:
        request = doubling_request(1.5, 2.5)
        answer, call = stub(ports).Predict.with_call(request, metadata=(("x-request-id", "mine"), ("own-bin", b"\0")))
    assert array_of(answer.outputs["y"]).tolist() == [3.0, 5.0]
    assert dict(call.initial_metadata())["x-request-id"] == "mine"
    assert {("x-request-id", "mine"), ("own-bin", b"\0")} <= set(served.service.metadata[0])
    rows = read_log(tmp_path)
    assert [(row["request_id"], row["model"], row["version"], row["protocol"]) for row in rows] == [
        ("mine", "m", 3, "grpc")
    ] * 2
    assert [(features_of(row), row["scores"]) for row in rows] == [({"x": [1.5]}, [3.0]), ({"x": [2.5]}, [5.0])]


def test_grpc_request_id_is_made_where_there_is_none(served: Upstream, ports: SidecarOptions) -> None:
    _, call = stub(ports).Predict.with_call(doubling_request(1.0))
    made = dict(call.initial_metadata())["x-request-id"]
    assert dict(served.service.metadata[0])["x-request-id"] == made
    assert len(made) == 32


def test_grpc_status_message_and_trailers_are_kept(served: Upstream, ports: SidecarOptions) -> None:
    def behave(context: Any) -> None:
        context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x03"), ("last", "2")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "s" not found. é')

    served.service.behave = behave
    with pytest.raises(grpc.RpcError) as caught:
        stub(ports).Predict(doubling_request(1.0))
    error = caught.value
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == 'Serving signature key "s" not found. é'
    assert {("grpc-status-details-bin", b"\x08\x03"), ("last", "2")} <= set(error.trailing_metadata())
    assert ("first", "1") in error.initial_metadata()


def test_grpc_metadata_of_an_answer_is_kept(served: Upstream, ports: SidecarOptions) -> None:
    def behave(context: Any) -> None:
        context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"),))

    served.service.behave = behave
    _, call = stub(ports).Predict.with_call(doubling_request(1.0))
    assert ("first", "1") in call.initial_metadata()
    assert ("last", "2") in call.trailing_metadata()


def test_grpc_deadline_reaches_the_upstream(served: Upstream, ports: SidecarOptions) -> None:
    stub(ports).Predict(doubling_request(1.0), timeout=30)
    assert 20 < served.service.seconds[0] < 31
    released = threading.Event()
    served.service.behave = lambda context: [released.wait(10)]
    with pytest.raises(grpc.RpcError) as caught:
        stub(ports).Predict(doubling_request(1.0), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    released.set()


def test_grpc_cancelled_call_is_cancelled_upstream(served: Upstream, ports: SidecarOptions) -> None:
    entered, released = threading.Event(), threading.Event()

    def behave(context: Any) -> None:
        entered.set()
        released.wait(10)

    served.service.behave = behave
    call = stub(ports).Predict.future(doubling_request(1.0))
    assert entered.wait(5)
    call.cancel()
    try:
        assert served.service.cancelled.wait(5)
    finally:
        released.set()


def test_grpc_messages_of_any_size_pass(served: Upstream, ports: SidecarOptions) -> None:
    values = np.arange(2_000_000, dtype=np.float64)
    answer = stub(ports).Predict(predict_request({"x": values}, model="m"))
    assert (array_of(answer.outputs["y"]) == 2 * values).all()


def test_grpc_other_services_and_the_health_stream_pass(served: Upstream, ports: SidecarOptions) -> None:
    with channel(ports) as to_sidecar:
        checks = health_pb2_grpc.HealthStub(to_sidecar)
        request = health_pb2.HealthCheckRequest()
        assert checks.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        watch = checks.Watch(request, timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        served.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            checks.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as caught:
            to_sidecar.unary_unary("/no.Service/Method")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_grpc_upstream_away_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sidecar("127.0.0.1:1", f"127.0.0.1:{port}", LogOptions(str(tmp_path))).running() as ports:
        with pytest.raises(grpc.RpcError) as caught:
            stub(ports).Predict(doubling_request(1.0))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with upstream(grpc_port=port):
            assert stub(ports).Predict(doubling_request(1.0), timeout=5).outputs


def logged_errors(folder: Path) -> list[tuple[str, str]]:
    return [(row["model"], row["error"]) for row in read_log(folder)]


def test_grpc_calls_that_failed_are_logged_by_their_code(served: Upstream, tmp_path: Path) -> None:
    served.service.behave = lambda context: context.abort(
        getattr(grpc.StatusCode, dict(context.invocation_metadata())["fail"]), "as asked"
    )
    codes = ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"]
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        for code in codes:
            with pytest.raises(grpc.RpcError):
                stub(ports).Predict(doubling_request(1.0), metadata=(("fail", code),))
    assert logged_errors(tmp_path) == [("m", "INVALID_ARGUMENT"), ("m", "INTERNAL")]


def test_grpc_call_that_the_client_gives_up_is_logged_as_cancelled(served: Upstream, tmp_path: Path) -> None:
    entered, released = threading.Event(), threading.Event()

    def behave(context: Any) -> None:
        entered.set()
        released.wait(10)

    served.service.behave = behave
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        call = stub(ports).Predict.future(doubling_request(1.0))
        assert entered.wait(10)
        call.cancel()
        assert served.service.cancelled.wait(10)
        released.set()
    assert logged_errors(tmp_path) == [("m", "CANCELLED")]


def test_grpc_call_during_which_the_upstream_ends_is_logged_as_failed(served: Upstream, tmp_path: Path) -> None:
    entered, released = threading.Event(), threading.Event()

    def behave(context: Any) -> None:
        entered.set()
        released.wait(10)

    with upstream() as dying:
        dying.service.behave = behave
        with sidecar(served.rest_address, dying.grpc_address, LogOptions(str(tmp_path))).running() as ports:
            call = stub(ports).Predict.future(doubling_request(1.0))
            assert entered.wait(10)
            dying.stop_grpc()
            assert call.code() is grpc.StatusCode.UNAVAILABLE
            released.set()
    assert logged_errors(tmp_path) == [("m", "UNAVAILABLE")]


def test_grpc_compressed_messages_pass_and_are_logged(served: Upstream, tmp_path: Path) -> None:
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path), fields=("x",))).running() as ports:
        request = predict_request({"x": np.ones(1000)}, model="m")
        answer = stub(ports).Predict(request, compression=grpc.Compression.Gzip)
    assert len(array_of(answer.outputs["y"])) == 1000
    rows = read_log(tmp_path)
    assert len(rows) == 1000
    assert features_of(rows[0]) == {"x": [1.0]}


@pytest.mark.parametrize(("limit", "reason"), [("MAX_CALL_BYTES", "too_large"), ("MAX_COPIED_BYTES", "busy")])
def test_grpc_call_that_there_is_no_room_for_passes_and_is_counted(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, reason: str
) -> None:
    monkeypatch.setattr(grpc_calls, limit, 10_000)
    large = predict_request({"x": np.ones(2000)}, model="m")
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        for _ in range(2):
            assert len(array_of(stub(ports).Predict(large).outputs["y"])) == 2000
        assert stub(ports).Predict(doubling_request(1.0)).outputs
        page = urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics_port}/metrics").read().decode()
    assert f'slipway_request_log_dropped_total{{reason="{reason}"}} 2.0' in page
    assert len(read_log(tmp_path)) == 1, "the room is given back"


def test_grpc_call_that_is_not_even_followed_passes(
    served: Upstream, ports: SidecarOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "MAX_COPIED_BYTES", 0)
    _, call = stub(ports).Predict.with_call(doubling_request(1.0))
    assert "x-request-id" not in dict(call.initial_metadata())


def test_grpc_long_ids_take_of_the_room_for_copies(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "MAX_COPIED_BYTES", 5_000)
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        for length in (6_000, 2_000, 2_000):
            metadata = (("x-request-id", "a" * length),)
            assert stub(ports).Predict(doubling_request(1.0), metadata=metadata).outputs
        page = urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics_port}/metrics").read().decode()
    assert 'slipway_request_log_dropped_total{reason="busy"} 1.0' in page
    assert len(read_log(tmp_path)) == 2, "the room is given back"


def test_grpc_client_is_told_how_many_calls_it_may_have_at_a_time(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_STREAMS", 2)
    at_once: list[int] = []
    lock, inside = threading.Lock(), [0]

    def behave(context: Any) -> None:
        with lock:
            inside[0] += 1
            at_once.append(inside[0])
        time.sleep(0.02)
        with lock:
            inside[0] -= 1

    served.service.behave = behave
    with (
        sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports,
        channel(ports) as to_sidecar,
    ):
        predict = prediction_service_pb2_grpc.PredictionServiceStub(to_sidecar).Predict
        calls = [predict.future(doubling_request(float(number))) for number in range(10)]
        assert [array_of(call.result().outputs["y"]).tolist() for call in calls] == [[2.0 * n] for n in range(10)]
    assert max(at_once) == 2


def test_grpc_client_with_more_calls_than_it_may_have_is_cut_off(
    ports: SidecarOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "MAX_STREAMS", 0)
    with pytest.raises(grpc.RpcError) as caught:
        stub(ports).Predict(doubling_request(1.0))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_grpc_connections_are_bounded_and_an_idle_one_makes_room(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_CONNECTIONS", 2)
    entered, released = threading.Semaphore(0), threading.Event()

    def behave(context: Any) -> None:
        entered.release()
        released.wait(20)

    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        idle = stub(ports)
        assert idle.Predict(doubling_request(1.0)).outputs
        served.service.behave = behave
        busy = [stub(ports).Predict.future(doubling_request(1.0)) for _ in range(2)]
        assert all(entered.acquire(timeout=10) for _ in busy)
        with pytest.raises(grpc.RpcError) as caught:
            stub(ports).Predict(doubling_request(1.0))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        released.set()
        assert all(call.result().outputs for call in busy)
        assert idle.Predict(doubling_request(1.0), wait_for_ready=True, timeout=10).outputs, "it comes back"


def test_grpc_silent_connections_make_room(ports: SidecarOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(grpc_proxy, "_BEGIN_SECONDS", 0.1)
    with connected(ports.grpc_port), connected(ports.grpc_port):
        time.sleep(0.2)
        assert stub(ports).Predict(doubling_request(1.0), timeout=10).outputs


def test_grpc_client_that_begins_with_much_waits_for_an_upstream_that_does_not_read() -> None:
    """What a client sends before the upstream's socket is open may fill that socket at once."""
    unknown = (1 << 14).to_bytes(3) + b"\x0c" + bytes(5 + (1 << 14))  # a frame of a type that passes

    async def held() -> int:
        log = MagicMock(spec=RequestLog)
        with socket.socket() as deaf, socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            proxy = GrpcProxy(deaf.getsockname(), log)
            await proxy.start(listener)
            client.connect(listener.getsockname())
            client.setblocking(False)
            sent, data = 0, PREFACE + unknown * 40
            until = time.monotonic() + 1
            while time.monotonic() < until:
                with suppress(BlockingIOError):
                    sent += client.send(data)
                    data = unknown * 40
                await asyncio.sleep(0.01)
            taken = int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
            await proxy.stop(0)
            return sent - taken

    assert uvloop.run(held()) < 4 << 20


@pytest.mark.parametrize("data", [b"", b"PRI * HTTP/2.0", b"GET / HTTP/1.1\r\n\r\n"])
def test_grpc_connection_that_does_not_begin_is_ended(
    ports: SidecarOptions, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(grpc_proxy, "_FIRST_SECONDS", 0.2)
    with connected(ports.grpc_port) as silent:
        silent.send(data)
        silent.seconds_until_closed(10)


def test_grpc_calls_in_flight_are_answered_when_the_sidecar_stops(served: Upstream, tmp_path: Path) -> None:
    entered, released = threading.Event(), threading.Event()

    def behave(context: Any) -> None:
        entered.set()
        released.wait(20)

    served.service.behave = behave
    running = sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path)))
    with running.running() as ports:
        stopping, idle = stub(ports), channel(ports)
        grpc.channel_ready_future(idle).result(10)
        call = stopping.Predict.future(doubling_request(1.0))
        assert entered.wait(10)
        threading.Timer(0.3, released.set).start()
    assert call.result().outputs
    assert len(read_log(tmp_path)) == 1
    with pytest.raises(grpc.RpcError) as caught:
        stopping.Predict(doubling_request(1.0))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    idle.close()
