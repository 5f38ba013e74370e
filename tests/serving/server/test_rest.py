"""REST over real connections: what HTTP adds to the answers, and what the server does not put up with."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.protocol.http_server import HttpProtocol
from serving.server import rest_api
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.rest_api import RestApp
from serving.server.server import ModelServer
from tests.serving.server.http_calls import ask, connected, request

PREDICT = "/v1/models/tiny:predict"
RAW = json.dumps({"signature_name": "raw", "instances": [{"size": 1.0, "rooms": 2, "town": "Ulm"}]})


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[ModelServer]:
    with ModelServer(OneVersion("tiny", tiny_model), ServerConfig(grpc_port=0, rest_port=0)) as server:
        yield server


@pytest.fixture
def port(server: ModelServer) -> int:
    assert server.rest_port
    return server.rest_port


@pytest.fixture
def app(server: ModelServer) -> RestApp:
    assert server._rest
    return server._rest._app


@pytest.fixture
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.4)
    monkeypatch.setattr(HttpProtocol, "idle_seconds", 0.4)


def test_predict_answers_and_gives_the_requests_id_back(port: int) -> None:
    answer = ask(port, "POST", PREDICT, RAW, x_request_id="abc-1")

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.json["predictions"] == pytest.approx([0.549834], abs=1e-6)


@pytest.mark.parametrize("given", ["", "a" * 200, "a b", "\xe4"])
def test_request_id_that_cannot_be_kept_is_replaced(port: int, given: str) -> None:
    assert len(ask(port, "GET", "/v1/models/tiny", x_request_id=given).headers["x-request-id"]) == 32


def test_gzip_body_is_read(port: int) -> None:
    assert ask(port, "POST", PREDICT, gzip.compress(RAW.encode()), content_encoding="gzip").status == 200


@pytest.mark.parametrize(
    "body",
    [RAW.encode(), gzip.compress(RAW.encode())[:-9], gzip.compress(b" " * 1001)],
    ids=["no gzip", "cut", "too large"],  # gzip writes the time: as names they differ from process to process
)
def test_gzip_that_is_none_or_too_large_counts_as_empty(
    port: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_api, "MAX_UNCOMPRESSED_BYTES", 1000)
    answer = ask(port, "POST", PREDICT, body, content_encoding="gzip")

    assert (answer.status, answer.error) == (400, "JSON Parse error: The document is empty")


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    with connected(port) as connection:
        connection.send(b"".join(request("POST", PREDICT, RAW, x_request_id=str(number)) for number in range(20)))

        assert [connection.read().headers["x-request-id"] for _ in range(20)] == [str(number) for number in range(20)]


def test_chunked_body_is_read(port: int) -> None:
    content = RAW.encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    with connected(port) as connection:
        for piece in (head, b"5\r\n", content[:5], b"\r\n%x\r\n" % (len(content) - 5), content[5:], b"\r\n0\r\n\r\n"):
            connection.send(piece)

        assert connection.read().status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"GET /v1/models/tiny HTTP/9.9\r\n\r\n",
        b"POST " + PREDICT.encode() + b" HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST " + PREDICT.encode() + b" HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST " + PREDICT.encode() + b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_gets_an_error_and_the_connection_ends(port: int, data: bytes) -> None:
    with connected(port) as connection:
        connection.send(data)
        answer = connection.read()

        assert answer.status == 400
        assert answer.error
        assert connection.seconds_until_closed(5) < 5


def test_endless_head_is_refused(port: int) -> None:
    with connected(port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nx: " + b"a" * (70 << 10))

        assert connection.read().status == 431


HALF = [b"", b"GET /v1/mod", b"POST " + PREDICT.encode() + b" HTTP/1.1\r\ncontent-length: 100\r\n\r\n{"]


@pytest.mark.parametrize("data", HALF)
def test_half_open_connection_makes_nobody_wait(port: int, data: bytes) -> None:
    with connected(port) as slow:
        slow.send(data)
        assert ask(port, "POST", PREDICT, RAW).status == 200

        slow.socket.setblocking(False)
        with pytest.raises(BlockingIOError):  # it is open still, and nothing was said
            slow.socket.recv(1)


@pytest.mark.usefixtures("is_impatient")
@pytest.mark.parametrize("data", HALF)
def test_half_open_connection_is_ended(port: int, data: bytes) -> None:
    with connected(port) as slow:
        slow.send(data)
        if data:
            assert slow.read().status == 408
        slow.seconds_until_closed(20)


def test_slow_body_that_goes_on_is_answered(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 1.0)
    monkeypatch.setattr(HttpProtocol, "idle_seconds", 1.0)
    whole = request("POST", PREDICT, RAW)
    with connected(port) as slow:
        for at in range(0, len(whole), 30):
            slow.send(whole[at : at + 30])
            time.sleep(0.3 if at > 90 else 0)

        assert slow.read().status == 200


@pytest.mark.usefixtures("is_impatient")
def test_client_that_takes_no_answer_is_dropped(port: int, server: ModelServer, app: RestApp) -> None:
    body = json.dumps({"signature_name": "raw", "inputs": {"rooms": [1] * 400_000}})
    with connected(port) as slow:
        slow.socket.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
        slow.send(request("POST", PREDICT, body))
        assert server._rest
        state = server._rest._server.server_state
        deadline = time.monotonic() + 20
        while not app.bodies.held_bytes and time.monotonic() < deadline:  # the server has not read the request yet
            time.sleep(0.01)
        assert app.bodies.held_bytes
        while (state.connections or app.bodies.held_bytes) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert not state.connections
        assert not app.bodies.held_bytes


def test_body_beyond_the_limit_is_refused(port: int, app: RestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.bodies, "limit", 1000)
    announced = ask(port, "POST", PREDICT, b" " * 1001)
    with connected(port) as connection:
        connection.send(f"POST {PREDICT} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n".encode() + b" " * 1001)
        counted = connection.read()

    for answer in (announced, counted):
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "1001 bytes" in answer.error
        assert "send smaller batches" in answer.error
    assert ask(port, "POST", PREDICT, RAW).status == 200


def test_bodies_that_together_are_beyond_the_limit_are_told_to_come_again(
    port: int, app: RestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.bodies, "limit", 1000)
    with connected(port) as holder:
        holder.send(request("POST", PREDICT, b" " * 900)[:-1])
        while app.bodies.held_bytes < 890:
            time.sleep(0.01)
        refused = ask(port, "POST", PREDICT, b" " * 200)
        holder.send(b" ")
        assert holder.read().status == 400

    assert refused.status == 503
    assert refused.error.startswith("The server is busy: ")
    assert app.bodies.held_bytes == 0


def test_requests_beyond_the_limit_are_told_to_come_again(
    port: int, app: RestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_api, "MAX_PENDING", 1)
    goes_on, is_working = threading.Event(), threading.Event()
    answer = app._api.answer

    def wait(*arguments: Any) -> Any:
        is_working.set()
        assert goes_on.wait(20)
        return answer(*arguments)

    monkeypatch.setattr(app._api, "answer", wait)
    with connected(port) as first:
        first.send(request("POST", PREDICT, RAW))
        assert is_working.wait(20)
        refused = ask(port, "POST", PREDICT, RAW)
        goes_on.set()

        assert first.read().status == 200
    assert refused.status == 503
    assert "1 requests are waiting" in refused.error


def test_fault_of_the_server_is_an_internal_error(port: int, app: RestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app._api, "_manager", None)
    answer = ask(port, "POST", PREDICT, RAW)

    assert answer.status == 500
    assert answer.error.startswith("AttributeError: ")


def test_metrics_are_served(port: int, server: ModelServer) -> None:
    before = server.metrics.page()
    ask(port, "POST", PREDICT, RAW)
    ask(port, "POST", "/v1/models/tiny:classify", '{"signature_name": "classify", "examples": [{}]}')
    answer = ask(port, "GET", "/monitoring/prometheus/metrics")

    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert 'API="classify",entrypoint="REST"' not in before
    assert 'request_latency_count{model_name="tiny",API="classify",entrypoint="REST"} 1' in answer.body.decode()
    assert 'runtime_latency_count{model_name="tiny",API="Classify",runtime="TF1"} 1' in answer.body.decode()


def test_other_paths_are_not_found(port: int) -> None:
    answer = ask(port, "GET", "/index.html")

    assert (answer.status, answer.headers["content-type"]) == (404, "text/plain")
