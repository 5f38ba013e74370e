"""The proxy in front of servers of the test's own: what passes through, and what is logged of it."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol.http_server import HttpProtocol
from serving.protocol.limits import MAX_PROXIED_BYTES
from serving.protocol.protos import prediction_service_pb2_grpc
from serving.protocol.tensor_protos import array_of
from serving.request_log import LogOptions
from serving.request_log import sidecar as sidecar_module
from serving.request_log.call_rows import MAX_CALL_BYTES
from serving.request_log.sidecar import SidecarOptions, run_sidecar
from slipway.errors import ConfigError
from tests.serving.request_log.calls import features_of, predict_request, read_log
from tests.serving.request_log.upstream import (
    VERSION,
    Answer,
    Seen,
    Upstream,
    doubling_request,
    predictions,
    sidecar,
    upstream,
)
from tests.serving.server.http_calls import connected

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def ports(_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarOptions]:
    """A sidecar whose log nobody reads."""
    options = LogOptions(str(tmp_path_factory.mktemp("log")))
    with sidecar(_upstream.rest_address, _upstream.grpc_address, options).running() as ports:
        yield ports


@pytest.fixture
def served(_upstream: Upstream) -> Upstream:
    """The upstream as new."""
    _upstream.reset()
    return _upstream


class Reply:
    """An answer over REST, as it came."""

    def __init__(self, port: int, method: str, target: str, body: bytes | None = None, **headers: str) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            sent = {"Host": "models.example", **{name.replace("_", "-"): value for name, value in headers.items()}}
            if body is not None:
                sent["Content-Length"] = str(len(body))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            self.status = response.status
            self.headers = {name.lower(): value for name, value in response.getheaders()}
            self.body = response.read()


def stub(ports: SidecarOptions) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel(ports))


def channel(ports: SidecarOptions) -> grpc.Channel:
    # A pool of its own: no test gets another's connection.
    options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{ports.grpc_port}", options=options)


def test_rest_request_and_answer_pass_unchanged(served: Upstream, ports: SidecarOptions) -> None:
    body = gzip.compress(b"anything \x00\xff")

    def answer(seen: Seen) -> Answer:
        headers = {
            "Content-Encoding": "gzip",
            "X-Served-By": "me",
            "Set-Cookie": "a=b",
            "Connection": "X-Hop",
            "X-Hop": "1",
        }
        return 418, headers, body

    served.rest.answer = answer
    reply = Reply(
        ports.rest_port, "PUT", "/v1/a%2Fb;c?q=%20x&&y", body,
        content_encoding="gzip", Accept="a/b", X_Own="Ã©", Connection="X-Mine, close", X_Mine="1", TE="trailers",
    )  # fmt: skip
    (seen,) = served.rest.seen
    assert (seen.method, seen.target, seen.body) == ("PUT", "/v1/a%2Fb;c?q=%20x&&y", body)
    for name, value in {
        "host": "models.example",
        "content-encoding": "gzip",
        "accept": "a/b",
        "x-own": "Ã©",
    }.items():
        assert seen.header(name) == [value]
    assert not {"x-mine", "te", "user-agent", "accept-encoding"} & {name.lower() for name, _ in seen.headers}
    assert (reply.status, reply.body) == (418, body)
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["x-served-by"] == "me"
    assert "x-hop" not in reply.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
def test_rest_methods_without_a_body_pass(served: Upstream, ports: SidecarOptions, method: str) -> None:
    served.rest.answer = lambda seen: (200, {"Content-Length": "0"}, b"")
    assert Reply(ports.rest_port, method, "/v1/models/m").status == 200
    assert (served.rest.seen[0].method, served.rest.seen[0].body) == (method, b"")


def test_rest_request_to_upgrade_is_answered_without(served: Upstream, ports: SidecarOptions) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    reply = Reply(ports.rest_port, "GET", "/v1/models/m", None, Sec_WebSocket_Version="13", **headers)
    assert (reply.status, reply.body) == (200, Reply(ports.rest_port, "GET", "/v1/models/m").body)


def test_rest_connections_have_the_servers_limits(ports: SidecarOptions) -> None:
    with connected(ports.rest_port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nx: " + b"a" * (70 << 10))
        answer = connection.read()
    assert (answer.status, answer.error) == (431, "The head of the request is too large")


@pytest.mark.parametrize("data", [b"GET /v1/mod", b"POST /v1/models/m:predict HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"])
def test_rest_half_open_connection_is_ended_as_by_the_server(
    ports: SidecarOptions, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.3)
    monkeypatch.setattr(HttpProtocol, "idle_seconds", 0.3)
    with connected(ports.rest_port) as slow:
        slow.send(data)
        assert slow.read().status == 408
        slow.seconds_until_closed(20)


def test_rest_bodies_of_many_clients_stay_within_the_memory_of_the_container(served: Upstream, tmp_path: Path) -> None:
    goes_on, count, body = threading.Event(), 6, b"x" * (MAX_PROXIED_BYTES - 1000)

    def hold(seen: Seen) -> Answer:
        assert goes_on.wait(20)
        return 200, {}, b"{}"

    served.rest.answer = hold
    command = [str(Path(sys.executable).parent / "slipway"), "request-log", "--sink", str(tmp_path)]
    command += ["--host", "127.0.0.1", "--rest-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    command += ["--upstream-rest", served.rest_address, "--upstream-grpc", served.grpc_address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            port = next(int(line.split(" ->")[0].rsplit(":")[-1]) for line in process.stdout if line.startswith("REST"))
            with ThreadPoolExecutor(count) as clients:
                asked = [clients.submit(Reply, port, "POST", "/v1/models/m:predict", body) for _ in range(count)]
                deadline = time.monotonic() + 15
                while sum(each.done() for each in asked) < count - 1 and time.monotonic() < deadline:
                    time.sleep(0.05)
                goes_on.set()
            [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        finally:
            process.terminate()

    assert sorted(each.result().status for each in asked) == [200] + [503] * (count - 1)
    assert int(peak) < 400 << 10  # of 512 MiB; the log's queues may take 96


def test_rest_chunked_bodies_pass_both_ways(served: Upstream, ports: SidecarOptions) -> None:
    served.rest.answer = lambda seen: (200, {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    connection = http.client.HTTPConnection("127.0.0.1", ports.rest_port)
    connection.request("POST", "/v1/models/m:predict", iter([b"one", b"two"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert connection.getresponse().read() == b"abcde"
    connection.close()
    assert served.rest.seen[0].body == b"onetwo"


def test_rest_large_body_passes(served: Upstream, ports: SidecarOptions) -> None:
    body = b"0123456789" * 2_000_000
    served.rest.answer = lambda seen: (200, {}, seen.body)
    assert Reply(ports.rest_port, "POST", "/anything", body).body == body


def test_rest_request_id_is_kept_or_made(served: Upstream, ports: SidecarOptions) -> None:
    given = Reply(ports.rest_port, "GET", "/v1/models/m", x_request_id="mine")
    made = Reply(ports.rest_port, "GET", "/v1/models/m")
    assert [seen.header("x-request-id") for seen in served.rest.seen] == [["mine"], [made.headers["x-request-id"]]]
    assert given.headers["x-request-id"] == "mine"
    assert len(made.headers["x-request-id"]) == 32


def test_rest_predictions_are_logged_and_nothing_else(served: Upstream, tmp_path: Path) -> None:
    body = json.dumps({"instances": [{"x": 1.5, "secret": "s"}, {"x": 2.5, "secret": "t"}]}).encode()
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path), fields=("x",))).running() as ports:
        for target in ("m:predict", "m/versions/7:predict", "m/labels/canary:predict", "m:PREDICT", "a%20b:predict"):
            reply = Reply(ports.rest_port, "POST", f"/v1/models/{target}", body, x_request_id=target)
            assert json.loads(reply.body) == {"predictions": [3.0, 5.0]}
        assert Reply(ports.rest_port, "POST", "/v1/models/m:predict", b"{").status == 400
        assert Reply(ports.rest_port, "GET", "/v1/models/m/metadata").status == 200
        assert Reply(ports.rest_port, "POST", "/v1/other", body).status == 200
    logged = read_log(tmp_path)
    [failed] = [row for row in logged if row["error"]]
    assert (failed["model"], failed["error"], failed["features"]) == ("m", "INVALID_ARGUMENT", None)
    rows = [row for row in logged if not row["error"]]
    assert [(row["request_id"], row["model"], row["version"]) for row in rows if row["instance"] == 0] == [
        ("m:predict", "m", VERSION),
        ("m/versions/7:predict", "m", 7),
        ("m/labels/canary:predict", "m", 9),
        ("m:PREDICT", "m", VERSION),
        ("a%20b:predict", "a b", VERSION),
    ]
    assert [(features_of(row), row["scores"]) for row in rows[:2]] == [({"x": [1.5]}, [3.0]), ({"x": [2.5]}, [5.0])]
    assert len(rows) == 10
    assert all(0 < row["latency_seconds"] < 5 for row in rows)


def test_rest_upstream_away_is_503_and_comes_back(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sidecar(f"127.0.0.1:{port}", "127.0.0.1:1", LogOptions(str(tmp_path))).running() as ports:
        reply = Reply(ports.rest_port, "GET", "/v1/models/m", x_request_id="mine")
        assert (reply.status, reply.headers["x-request-id"]) == (503, "mine")
        assert "does not answer" in json.loads(reply.body)["error"]
        with upstream(rest_port=port):
            assert Reply(ports.rest_port, "GET", "/v1/models/m").status == 200


def test_rest_upstream_that_breaks_off_is_502(ports: SidecarOptions, served: Upstream) -> None:
    served.rest.answer = lambda seen: (200, {"Content-Length": "100", "Connection": "close"}, b"half")
    reply = Reply(ports.rest_port, "GET", "/v1/models/m")
    assert reply.status == 502
    assert "broke off" in json.loads(reply.body)["error"]


def test_rest_prediction_whose_answer_breaks_off_is_logged_as_failed(served: Upstream, tmp_path: Path) -> None:
    def half_of_a_prediction(seen: Seen) -> Answer:
        if seen.method == "GET":
            return predictions(seen)
        return 200, {"Content-Length": "100", "Connection": "close"}, b"half"

    served.rest.answer = half_of_a_prediction
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        assert Reply(ports.rest_port, "POST", "/v1/models/m:predict", b"{}").status == 502
        page = urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics_port}/metrics").read().decode()

    assert [(row["model"], row["error"]) for row in read_log(tmp_path)] == [("m", "UNAVAILABLE")]
    assert 'slipway_request_log_dropped_total{reason="too_large"} 0.0' in page


def test_rest_prediction_that_breaks_off_after_its_first_piece_is_logged_as_failed(
    served: Upstream, tmp_path: Path
) -> None:
    """The client has the status and a part of a large answer by then; its connection ends."""
    sent = b" " * (MAX_CALL_BYTES + 1)

    def part_of_a_prediction(seen: Seen) -> Answer:
        if seen.method == "GET":
            return predictions(seen)
        return 200, {"Content-Length": str(2 * len(sent)), "Connection": "close"}, sent

    served.rest.answer = part_of_a_prediction
    running = sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running()
    with running as ports, pytest.raises((http.client.IncompleteRead, ConnectionError)):
        Reply(ports.rest_port, "POST", "/v1/models/m:predict", b"{}")
    assert [(row["model"], row["error"]) for row in read_log(tmp_path)] == [("m", "UNAVAILABLE")]


def test_rest_body_beyond_the_limit_is_refused(ports: SidecarOptions, served: Upstream) -> None:
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_PROXIED_BYTES + 1}\r\n\r\n"
    with connected(ports.rest_port) as connection:
        connection.send(head.encode())
        refused = connection.read()

    assert (refused.status, refused.headers["connection"]) == (413, "close")
    assert "send smaller batches" in refused.error
    assert not served.rest.seen


def test_rest_answer_beyond_what_is_logged_passes_whole(served: Upstream, tmp_path: Path) -> None:
    large = json.dumps({"predictions": ["x" * 1000] * 10_000}).encode()
    served.rest.answer = lambda seen: (200, {"Content-Type": "application/json"}, large)
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        replies = [Reply(ports.rest_port, "POST", "/v1/models/m:predict", b"{}") for _ in range(2)]
        page = urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics_port}/metrics").read().decode()

    assert [(reply.status, reply.body == large) for reply in replies] == [(200, True)] * 2
    assert [reply.headers["content-length"] for reply in replies] == [str(len(large))] * 2
    assert 'slipway_request_log_dropped_total{reason="too_large"} 2.0' in page


def test_rest_request_for_no_resource_is_not_found(ports: SidecarOptions, served: Upstream) -> None:
    with connected(ports.rest_port) as connection:
        connection.send(b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.read().status == 404
        connection.send(b"GET /v1/models/m HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.read().status == 200
    assert [seen.method for seen in served.rest.seen] == ["GET"]


def test_grpc_message_beyond_the_limit_is_refused(ports: SidecarOptions, served: Upstream) -> None:
    request = predict_request({"x": np.zeros(MAX_PROXIED_BYTES // 4 + 1, np.float32)})
    with pytest.raises(grpc.RpcError) as caught:
        stub(ports).Predict(request, timeout=20)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not served.service.metadata


def test_grpc_messages_that_together_are_beyond_the_limit_are_refused(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecar_module, "MAX_PROXIED_BYTES", 1000)
    goes_on, is_held = threading.Event(), threading.Event()

    def hold(context: object) -> None:
        is_held.set()
        assert goes_on.wait(20)

    served.service.behave = hold
    request = predict_request({"x": np.zeros(200, np.float32)})
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        first = stub(ports).Predict.future(request, timeout=20)
        assert is_held.wait(20)
        with pytest.raises(grpc.RpcError) as caught:
            stub(ports).Predict(request, timeout=20)
        goes_on.set()
        first.result()
        stub(ports).Predict(request, timeout=20)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "the bodies of all requests have more than 1000 bytes" in caught.value.details()


def test_rest_connection_that_the_upstream_closed_fails_no_request(tmp_path: Path) -> None:
    """It promises to keep the connection, and closes it after each answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            connection, _ = listener.accept()
            with connection:
                if connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}")

    thread = threading.Thread(target=serve)
    thread.start()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        with sidecar(address, "127.0.0.1:1", LogOptions(str(tmp_path))).running() as ports:
            assert [Reply(ports.rest_port, "POST", "/v1/x", b"{}").status for _ in range(50)] == [200] * 50
    finally:
        stopping.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()


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
            time.sleep(1.2)  # the longest pause between two looks for the upstream
            assert stub(ports).Predict(doubling_request(1.0), timeout=5).outputs


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
