"""REST through the sidecar: what passes, what is refused, and what is logged."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import urllib.request
from pathlib import Path

import pytest

from serving.protocol.http_server import HttpProtocol
from serving.protocol.limits import MAX_PROXIED_BYTES
from serving.request_log import LogOptions, rest_proxy
from serving.request_log.call_rows import MAX_CALL_BYTES
from serving.request_log.sidecar import SidecarOptions
from tests.serving.request_log.asking import Reply
from tests.serving.request_log.calls import features_of, read_log
from tests.serving.request_log.upstream import (
    VERSION,
    Answer,
    Seen,
    Upstream,
    predictions,
    sidecar,
    upstream,
)
from tests.serving.server.http_calls import ask, connected


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


def test_rest_upstream_that_says_nothing_for_long_is_502(
    served: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_proxy, "CALL_SILENCE_SECONDS", 0.2)
    released = threading.Event()
    served.rest.answer = lambda _: (released.wait(10), {}, b"")
    with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
        reply = ask(ports.rest_port, "POST", "/v1/models/m:predict", b'{"instances": [{"x": 1}]}')
        released.set()
    assert reply.status == 502
    assert [seen.method for seen in served.rest.seen].count("POST") == 1, "it is not asked again"
    assert "Timeout" in reply.error


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
