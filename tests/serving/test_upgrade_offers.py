"""A request that offers an upgrade is answered by server and sidecar as if it offered none (RFC 9110, 7.8)."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.request_log import LogOptions
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from tests.serving.request_log.upstream import sidecar, upstream
from tests.serving.server.http_calls import Connection, HttpAnswer, connected, request
from tests.serving.upgrade_offers import OFFERS, Sent, cut, offering, streams

PREDICT = "/v1/models/m:predict"
JAVA = OFFERS["java"]
POST = b"POST / HTTP/1.1\r\n" + JAVA


@pytest.fixture(scope="module", params=["server", "sidecar"])
def port(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server, or of a sidecar in front of one."""
    with (
        ModelServer(OneVersion("m", tiny_model), ServerConfig(grpc_port=0, rest_port=0)) as server,
        contextlib.ExitStack() as stack,
    ):
        assert server.rest_port
        if request.param == "server":
            yield server.rest_port
            return
        log = LogOptions(str(tmp_path_factory.mktemp("log")))
        addresses = (f"127.0.0.1:{server.rest_port}", f"127.0.0.1:{server.grpc_port}")
        yield stack.enter_context(sidecar(*addresses, log).running()).rest_port


def body_of(size: float) -> bytes:
    return json.dumps({"signature_name": "raw", "inputs": {"size": [size]}}).encode()


def check_predicted(answer: HttpAnswer, size: float) -> None:
    assert answer.status == 200, answer.body
    assert answer.json["outputs"] == pytest.approx([1 / (1 + math.exp(-0.3 * size))], abs=1e-6)


def send(connection: Connection, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        connection.send(piece)
        time.sleep(0.002)  # otherwise the server reads several at once


def check_ends(connection: Connection) -> None:
    """The server closes, and has answered nothing more."""
    with pytest.raises(ConnectionError, match=r"closed after 0 bytes|reset"):
        connection.read()


def check_goes_on(connection: Connection) -> None:
    """The connection holds no answer but the next request's."""
    answer = connection.ask("POST", PREDICT, body_of(7.0), x_request_id="next")
    check_predicted(answer, 7.0)
    assert answer.headers["x-request-id"] == "next"


@pytest.mark.parametrize("chunks", [None, [1, 20]])
@pytest.mark.parametrize("offer", OFFERS)
def test_offer_to_upgrade_is_answered_with_the_prediction(port: int, offer: str, chunks: list[int] | None) -> None:
    data = offering(PREDICT, body_of(2.0), OFFERS[offer], chunks)
    end_of_head = data.index(b"\r\n\r\n") + 4
    for positions in ([], [end_of_head], [end_of_head - 1, end_of_head + 1]):
        with connected(port) as connection:
            send(connection, cut(data, positions))
            check_predicted(connection.read(), 2.0)
            check_goes_on(connection)


@pytest.mark.parametrize("chunks", [None, [5]])
@pytest.mark.parametrize("is_cut", [False, True])
def test_body_of_an_offer_to_upgrade_is_no_request(port: int, is_cut: bool, chunks: list[int] | None) -> None:
    inner = offering(PREDICT, body_of(40.0), b"", request_id="smuggled")
    data = offering(PREDICT, inner, b"Connection: Upgrade\r\nUpgrade: h2c\r\n", chunks, request_id="outer")
    with connected(port) as connection:
        send(connection, cut(data, [data.index(b"\r\n\r\n") + 4] if is_cut else []))
        answer = connection.read()
        assert (answer.status, answer.headers["x-request-id"]) == (400, "outer")
        assert "JSON Parse error" in answer.error
        check_goes_on(connection)


def test_offers_to_upgrade_in_any_pieces_are_answered_one_by_one(port: int) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(streams(PREDICT, st.integers(-5, 5).map(body_of)), st.lists(st.integers(1, 1500), max_size=6))
    def check(sent: list[Sent], positions: list[int]) -> None:
        with connected(port) as connection:
            send(connection, cut(b"".join(one.data for one in sent), positions))
            for one in sent:
                answer = connection.read()
                assert answer.headers["x-request-id"] == one.id
                check_predicted(answer, json.loads(one.body)["inputs"]["size"][0])
            check_goes_on(connection)

    check()


def test_offer_to_upgrade_that_waits_for_a_100_gets_it_and_the_prediction(port: int) -> None:
    data = offering(PREDICT, body_of(2.0), JAVA + b"Expect: 100-continue\r\n")
    head, body = cut(data, [data.index(b"\r\n\r\n") + 4])
    with connected(port) as connection:
        connection.send(head)
        assert connection.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(body)
        check_predicted(connection.read(), 2.0)
        check_goes_on(connection)


@pytest.mark.parametrize(
    ("version", "headers"),
    [(b"1.0", JAVA), (b"1.1", JAVA.replace(b"Upgrade,", b"close, Upgrade,"))],
    ids=["http/1.0", "close"],
)
def test_offer_to_upgrade_on_a_connection_that_ends_is_its_last_request(
    port: int, version: bytes, headers: bytes
) -> None:
    data = offering(PREDICT, body_of(2.0), headers).replace(b"HTTP/1.1", b"HTTP/" + version)
    with connected(port) as connection:
        connection.send(data + request("POST", PREDICT, body_of(3.0)))
        check_predicted(connection.read(), 2.0)
        check_ends(connection)


UNCLEAR = {
    "connect": (501, b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: x\r\n"),
    "connect with a body": (501, b"CONNECT /v1/models/m HTTP/1.1\r\n" + JAVA + b"Content-Length: 3\r\n"),
    "http/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n"),
    "length and chunks": (400, POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
    "chunks and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
    "two lengths": (400, POST + b"Content-Length: 2\r\nContent-Length: 3\r\n"),
    "encoding without an end": (400, POST + b"Transfer-Encoding: gzip\r\n"),
    "folded field": (400, POST + b"X: folded\r\n line\r\n"),
    "folded offer": (400, b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade:\r\n h2c\r\n"),
    "space in a name": (400, POST + b"Upgrade : h2c\r\n"),
}


@pytest.mark.parametrize(("status", "head"), UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("is_cut", [False, True])
def test_head_that_leaves_open_where_it_ends_is_refused_and_nothing_after_it_is_read(
    port: int, status: int, head: bytes, is_cut: bool
) -> None:
    smuggled = request("POST", PREDICT, body_of(3.0))
    with connected(port) as connection, contextlib.suppress(BrokenPipeError):
        send(connection, [head + b"\r\n", smuggled] if is_cut else [head + b"\r\n" + smuggled])
        answer = connection.read()
        assert answer.status == status
        assert answer.error
        check_ends(connection)


def test_sidecar_passes_no_offer_on(tmp_path: Path) -> None:
    with upstream() as served:
        with sidecar(served.rest_address, served.grpc_address, LogOptions(str(tmp_path))).running() as ports:
            for headers in (JAVA, b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"):
                with connected(ports.rest_port) as connection:
                    connection.send(offering(PREDICT, b'{"instances": [{"x": 1.5}]}', headers))
                    assert connection.read().json == {"predictions": [3.0]}
        posted = [seen for seen in served.rest.seen if seen.method == "POST"]  # the log asks for versions
    assert [(seen.target, seen.body) for seen in posted] == [(PREDICT, b'{"instances": [{"x": 1.5}]}')] * 2
    for seen in posted:
        assert not {name.lower() for name, _ in seen.headers} & {"connection", "upgrade", "http2-settings"}
