"""uvicorn's protocol as the servers have it: what it relies on, and requests in each way of coming in pieces."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import httptools
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from serving.protocol.http_server import HttpProtocol
from tests.properties import examples
from tests.serving.upgrade_offers import NO_OFFERS, OFFERS, Sent, cut, offering, streams

LAST = b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"


def config_of(app: Any) -> uvicorn.Config:
    return uvicorn.Config(app, interface="asgi3", ws="none", lifespan="off", proxy_headers=False, log_config=None)


class Exchange:
    """Sends pieces one by one, each when the one before has been parsed, to an application that keeps what it gets."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self._received = 0

    def run(self, pieces: Iterable[bytes]) -> bytes:
        """All that was answered until the server closed the connection."""
        return asyncio.run(asyncio.wait_for(self._run(pieces), 5))

    async def _run(self, pieces: Iterable[bytes]) -> bytes:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        transport, _ = await loop.connect_accepted_socket(self._protocol, theirs)
        sent = 0
        for piece in pieces:
            await loop.sock_sendall(ours, piece)
            sent += len(piece)
            while self._received < sent and not transport.is_closing():
                await asyncio.sleep(0)
        answer = b""
        while data := await loop.sock_recv(ours, 1 << 16):
            answer += data
        ours.close()
        return answer

    def _protocol(self) -> HttpProtocol:
        exchange = self

        class Counted(HttpProtocol):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                exchange._received += len(data)

        return Counted(config=config_of(self._app), server_state=ServerState(), app_state={})

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, message = b"", {"more_body": True}
        while message["more_body"]:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
        self.seen.append((scope["path"], body))
        answer = dict(scope["headers"]).get(b"x-request-id", b"last")
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})


def check_all_seen(sent: list[Sent], positions: Iterable[int]) -> None:
    exchange = Exchange()
    answer = exchange.run(cut(b"".join(one.data for one in sent) + LAST, positions))

    assert exchange.seen == [*(("/p", one.body) for one in sent), ("/last", b"")]
    assert [each.split(b"\r\n\r\n")[1] for each in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
        *(one.id.encode() for one in sent),
        b"last",
    ]


@pytest.mark.parametrize("chunks", [None, [3, 4]])
@pytest.mark.parametrize("offer", [*OFFERS, *NO_OFFERS])
def test_offer_to_upgrade_cut_at_each_byte_loses_nothing(offer: str, chunks: list[int] | None) -> None:
    data = offering("/p", b"some content", {**OFFERS, **NO_OFFERS}[offer], chunks, request_id="0")
    for position in range(1, len(data) + 1):
        check_all_seen([Sent("0", b"some content", data)], [position])
    check_all_seen([Sent("0", b"some content", data)], range(1, len(data)))


inner = st.sampled_from(list(OFFERS.values())).map(lambda offer: offering("/inner", b"inner", offer))


@settings(max_examples=examples(150), deadline=None, database=None)
@given(streams("/p", st.binary(max_size=60) | inner), st.lists(st.integers(1, 1500), max_size=12))
def test_offers_to_upgrade_in_any_pieces_are_answered_one_by_one(sent: list[Sent], positions: list[int]) -> None:
    check_all_seen(sent, positions)


def test_offer_to_upgrade_on_a_connection_that_ends_is_the_last_request() -> None:
    exchange = Exchange()
    offer = b"Connection: close, upgrade\r\nUpgrade: h2c\r\n"
    exchange.run([offering("/p", b"first", offer) + offering("/p", b"second", offer)])

    assert exchange.seen == [("/p", b"first")]


def test_many_offers_to_upgrade_in_one_piece_are_answered() -> None:
    check_all_seen([Sent("0", b"", offering("/p", b"", OFFERS["tls"], request_id="0"))] * 2000, [])


def test_protocol_relies_on_these_parts_of_uvicorn() -> None:
    """uvicorn promises none of them: whoever raises its upper bound in pyproject.toml looks at each."""
    hooks = {name for name in vars(HttpProtocol) if name in vars(HttpToolsProtocol) and not name.startswith("__")}
    assert hooks == {
        "_start_asgi_task",
        "connection_lost",
        "connection_made",
        "data_received",
        "on_headers_complete",
        "on_message_begin",
        "on_message_complete",
        "pause_writing",
        "resume_writing",
        "send_400_response",
    }
    loop = asyncio.new_event_loop()
    plain = HttpToolsProtocol(config_of(None), ServerState(), {}, loop)
    assert isinstance(plain.parser, httptools.HttpRequestParser)
    assert {"cycle", "flow", "headers", "loop", "transport"} <= vars(plain).keys()
    plain.on_message_begin()
    assert (plain.url, plain.headers) == (b"", [])
    plain.on_header(b"Upgrade", b"h2c")
    assert plain.headers == [(b"upgrade", b"h2c")]
    assert {"read_paused", "write_paused"} <= vars(FlowControl(asyncio.Transport())).keys()
    cycle = {"disconnected", "message_event", "response_complete", "response_started"}
    assert cycle <= set(RequestResponseCycle.__init__.__code__.co_names)
    assert {"capture_signals", "serve"} <= vars(uvicorn.Server).keys()
    loop.close()
