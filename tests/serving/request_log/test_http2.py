"""HTTP/2 that passes through: what is heard of it, what is changed, and what is no HTTP/2."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest
from hpack import Decoder, Encoder

from serving.request_log.http2 import (
    HEADER_TABLE_SIZE,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    BrokenConnectionError,
    FrameReader,
    go_away,
)

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, CONTINUATION = 0, 1, 3, 4, 5, 6, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20


class Heard:
    """Keeps what it hears, and adds a field to all headers."""

    def __init__(self) -> None:
        self.headers: list[tuple[int, Mapping[bytes, bytes], bool]] = []
        self.data: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.added: dict[bytes, bytes] = {}
        self.begun = 0

    def on_frame(self) -> None:
        self.begun += 1

    def on_headers(self, stream: int, fields: Mapping[bytes, bytes], *, is_end: bool) -> Mapping[bytes, bytes]:
        self.headers.append((stream, fields, is_end))
        return self.added

    def on_data(self, stream: int, data: memoryview) -> None:
        self.data[stream] = self.data.get(stream, b"") + bytes(data)

    def on_end(self, stream: int) -> None:
        self.ended.append(stream)

    def on_reset(self, stream: int) -> None:
        self.ended.append(-stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while data:
        length = int.from_bytes(data[:3])
        found.append((data[3], data[4], int.from_bytes(data[5:9]), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def test_data_pass_unchanged_however_they_are_cut() -> None:
    padded = bytes([3]) + b"whole" + bytes(3)
    sent = PREFACE + frame(DATA, 0, 1, b"first ") + frame(PING, 0, 0, bytes(8)) + frame(DATA, PADDED, 1, padded)
    sent += (
        frame(DATA, END_STREAM, 3) + frame(RST_STREAM, 0, 5, bytes(4)) + frame(DATA, PADDED, 7, bytes([4]) + bytes(4))
    )
    for size in (1, 2, 7, 10, len(sent)):
        heard = Heard()
        reader = FrameReader(heard, {}, PREFACE)
        passed = b"".join(reader.feed(sent[at : at + size]) for at in range(0, len(sent), size))
        assert passed == sent
        assert (heard.data, heard.ended, heard.begun) == ({1: b"first whole"}, [3, -5], 6)
        assert reader.is_between_frames
        assert reader.has_begun


def test_no_data_are_held() -> None:
    reader = FrameReader(Heard(), {})
    head = frame(DATA, 0, 1, bytes(1000))[:9]
    assert reader.feed(head + b"abc") == head + b"abc"
    assert not reader.is_between_frames


def test_added_field_leaves_the_tables_of_both_ends_as_they_are() -> None:
    """The sender's second block refers to fields of its first one by their place in the table."""
    sender, receiver, heard = Encoder(), Decoder(), Heard()
    heard.added = {b"x-request-id": b"i" * 200}
    reader = FrameReader(heard, {})
    for number in range(3):
        fields = [(b":path", b"/a/b"), (b"user-agent", b"u"), (b"n", b"%d" % number)]
        [(kind, flags, stream, block)] = frames(
            reader.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, sender.encode(fields)))
        )
        assert (kind, flags, stream) == (HEADERS, END_HEADERS | END_STREAM, 1)
        assert list(receiver.decode(block, raw=True)) == [*fields, (b"x-request-id", b"i" * 200)]
        assert heard.headers[-1] == (1, dict(fields), True)


def test_long_headers_come_and_go_in_several_frames() -> None:
    fields = [(b"a", b"1" * 20_000), (b"b", b"2" * 20_000)]
    block = Encoder().encode(fields, huffman=False)
    first = bytes([2]) + bytes(5) + block[:100] + bytes(2)
    reader = FrameReader(Heard(), {})
    assert not reader.feed(frame(HEADERS, PADDED | PRIORITY, 1, first))
    assert not reader.feed(frame(CONTINUATION, 0, 1, block[100:9000]))
    passed = frames(reader.feed(frame(CONTINUATION, END_HEADERS, 1, block[9000:])))
    assert [(kind, flags) for kind, flags, *_ in passed] == [
        (HEADERS, 0),
        (CONTINUATION, 0),
        (CONTINUATION, END_HEADERS),
    ]
    assert list(Decoder().decode(b"".join(payload for *_, payload in passed), raw=True)) == fields


def test_settings_are_lowered_and_completed() -> None:
    reader = FrameReader(Heard(), {HEADER_TABLE_SIZE: 4096, MAX_CONCURRENT_STREAMS: 100})

    def through(given: dict[int, int]) -> dict[int, int]:
        payload = b"".join(struct.pack(">HI", *each) for each in given.items())
        [(kind, _, _, sent)] = frames(reader.feed(frame(SETTINGS, 0, 0, payload)))
        assert kind == SETTINGS
        return dict(struct.iter_unpack(">HI", sent))

    assert through({4: 1 << 20, HEADER_TABLE_SIZE: 1 << 20}) == {4: 1 << 20, 1: 4096, 3: 100}
    assert through({HEADER_TABLE_SIZE: 0, MAX_CONCURRENT_STREAMS: 7}) == {1: 0, 3: 7}
    assert through({5: 1 << 15}) == {5: 1 << 15, 1: 0, 3: 7}, "what the other end said before holds"
    acknowledged = frame(SETTINGS, 1, 0)
    assert reader.feed(acknowledged) == acknowledged


@pytest.mark.parametrize(
    "data",
    [
        frame(HEADERS, END_HEADERS, 0, b"\x82"),
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\x7f"),
        frame(HEADERS, END_HEADERS, 1, b"\x00\x05ab"),
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\x09\x82"),
        frame(HEADERS, 0, 1, b"\x82") + frame(DATA, 0, 1),
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, END_HEADERS, 3),
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1),
        frame(HEADERS, 0, 1, bytes(1 << 16)) + frame(CONTINUATION, 0, 1, b"\x82"),
        frame(DATA, PADDED, 1) + frame(HEADERS, END_HEADERS, 1, b"\x82"),
        frame(DATA, PADDED, 1, b"\x04abc"),
        frame(HEADERS, 0, 1, bytes((1 << 16) + 1)),
        frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
        frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)),
        frame(SETTINGS, 0, 0, bytes(7)),
    ],
)
def test_what_is_no_http2_is_an_error(data: bytes) -> None:
    with pytest.raises(BrokenConnectionError):
        FrameReader(Heard(), {}).feed(data)


def test_what_begins_otherwise_is_an_error() -> None:
    reader = FrameReader(Heard(), {}, PREFACE)
    assert not reader.feed(PREFACE[:5])
    assert not reader.has_begun
    with pytest.raises(BrokenConnectionError):
        reader.feed(b"GET / HTTP/1.1")


def test_go_away_names_the_last_stream() -> None:
    assert frames(go_away(5)) == [(7, 0, 0, struct.pack(">II", 5, 0))]
