"""Requests that offer an upgrade, as clients write them, and the pieces in which they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

OFFERS = {
    # java.net.http.HttpClient, with each first request to a server
    "java": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAA\r\n",
    "lower case": b"upgrade:h2c\r\nconnection:upgrade\r\n",
    "upper case": b"CONNECTION: keep-alive ,\tUPGRADE\r\nUPGRADE: H2C \r\n",
    "several": b"Connection: x-a\r\nUpgrade: h2c\r\nConnection: upgrade\r\nUpgrade: HTTP/3.0, IRC/6.9\r\nX-A:\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AA==\r\n",
    "tls": b"Upgrade: TLS/1.0, HTTP/1.1\r\nConnection: Upgrade\r\n",
    "proxy": b"Proxy-Connection: Upgrade\r\nUpgrade: h2c\r\n",
}
NO_OFFERS = {
    "none": b"",
    "not of this connection": b"Upgrade: h2c\r\n",
    "of nothing": b"Connection: Upgrade\r\n",
}


class Sent(NamedTuple):
    """A request: its id, its body, and the bytes that say so."""

    id: str
    body: bytes
    data: bytes


def offering(
    target: str, body: bytes, headers: bytes, chunks: Sequence[int] | None = None, *, request_id: str = "mine"
) -> bytes:
    """A POST; with `chunks`, the sizes of the body's chunks but the last."""
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nX-Request-Id: %b\r\n%b" % (target.encode(), request_id.encode(), headers)
    if chunks is None:
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    parts = [part for part in cut(body, [sum(chunks[: end + 1]) for end in range(len(chunks))]) if part]
    written = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
    return head + b"Transfer-Encoding: Chunked\r\n\r\n%b0\r\nX-Trailer: 1\r\n\r\n" % written


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """The pieces between positions; those outside are left out."""
    return [data[start:end] for start, end in pairwise([0, *sorted(at for at in positions if at < len(data)), None])]


@st.composite
def streams(draw: st.DrawFn, target: str, bodies: st.SearchStrategy[bytes]) -> list[Sent]:
    """Requests to send one after another on one connection; most offer something."""
    offers = st.sampled_from([*OFFERS.values(), *NO_OFFERS.values()])
    chunks = st.none() | st.lists(st.integers(1, 40), max_size=4)
    sent = []
    for number in range(draw(st.integers(1, 4))):
        body = draw(bodies)
        sent.append(Sent(str(number), body, offering(target, body, draw(offers), draw(chunks), request_id=str(number))))
    return sent
