"""One direction of an HTTP/2 connection that passes through (RFC 9113): its headers are read, its data are looked at.

Data are never held, so that memory does not grow with messages. Blocks of headers are, up to `MAX_HEAD_BYTES`, because
their compression (RFC 7541) has to be followed from block to block. A field that is added to a block is a literal: the
tables of both ends stay as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Protocol

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

from serving.protocol.limits import MAX_HEAD_BYTES

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS = 1, 3  # settings
TABLE_BYTES = 4096  # of the `Decoder`
LAST_STREAM = 2**31 - 1
# Of an end: RFC 9113, section 7.
NO_ERROR, PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 0x0, 0x1, 0xB

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _GO_AWAY, _CONTINUATION = 0, 1, 3, 4, 5, 7, 9
_READ_WHOLE = (_HEADERS, _RST_STREAM, _SETTINGS, _CONTINUATION)
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_PRIORITY_BYTES = 5
_FRAME_HEAD_BYTES = 9
_FRAME_BYTES = 1 << 14  # every receiver takes as much
_ENCODER = Encoder()

Fields = Mapping[bytes, bytes]


class BrokenConnectionError(Exception):
    """What came is not HTTP/2, or beyond its limits; `code` tells the other end."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


class Listener(Protocol):
    """Hears of the frames of one direction."""

    def on_frame(self) -> None:
        """A frame of any kind begins; BrokenConnectionError where there are too many."""

    def on_headers(self, stream: int, fields: Fields, *, is_end: bool) -> Fields:
        """A stream's headers or trailers, of a repeated field the last one; returns what to add to them."""

    def on_data(self, stream: int, data: memoryview) -> None:
        """A piece of a stream's data."""

    def on_end(self, stream: int) -> None:
        """A stream's data ended, and no trailers follow."""

    def on_reset(self, stream: int) -> None:
        """A stream was broken off."""


class FrameReader:
    """Takes the bytes of one direction as they come, and returns those to send on.

    Args:
        listener: Hears of the frames.
        settings: The highest value of each setting that may pass; they are sent if the other end names none.
        preface: What the direction begins with.
    """

    def __init__(self, listener: Listener, settings: Mapping[int, int], preface: bytes = b"") -> None:
        self._listener = listener
        self._highest, self._settings = settings, dict(settings)
        self._preface = preface
        self._decoder = Decoder(MAX_HEAD_BYTES)
        self._begun = b""  # of the preface, or of a frame
        self._stream = self._left = self._data_left = 0  # of the frame that passes
        self._is_last = False
        self._block = bytearray()
        self._block_stream = 0

    @property
    def has_begun(self) -> bool:
        """Whether the preface has come."""
        return not self._preface

    @property
    def is_between_frames(self) -> bool:
        """Whether a frame of somebody else's may be sent now."""
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """What to send on.

        Raises:
            BrokenConnectionError: this is not HTTP/2.
        """
        rest, passed = memoryview(self._begun + data), list[bytes | memoryview]()
        if self._preface:
            begin = bytes(rest[: len(self._preface)])
            if not self._preface.startswith(begin):
                raise BrokenConnectionError("no preface")
            if begin != self._preface:
                self._begun = begin
                return b""
            passed.append(begin)
            rest, self._preface = rest[len(begin) :], b""
        while rest and (taken := self._pass(rest, passed) if self._left else self._begin(rest, passed)):
            rest = rest[taken:]
        self._begun = bytes(rest)
        return b"".join(passed)

    def _begin(self, rest: memoryview, passed: list[bytes | memoryview]) -> int:
        """Passes the head of a frame, or reads a whole one; returns how much it took, 0 if more has to come."""
        if len(rest) < _FRAME_HEAD_BYTES:
            return 0
        length, kind, flags = int.from_bytes(rest[:3]), rest[3], rest[4]
        stream = int.from_bytes(rest[5:_FRAME_HEAD_BYTES]) & LAST_STREAM
        if kind == _PUSH_PROMISE or (self._block_stream != 0) != (kind == _CONTINUATION):
            raise BrokenConnectionError(f"a frame of type {kind} out of place")
        if kind in _READ_WHOLE:
            end = _FRAME_HEAD_BYTES + length
            if length > MAX_HEAD_BYTES:
                raise BrokenConnectionError(f"a frame of type {kind} has {length} bytes")
            if len(rest) < end:
                return 0
            self._listener.on_frame()
            passed.append(self._read(kind, flags, stream, bytes(rest[:end])))
            return end
        taken = _FRAME_HEAD_BYTES + (kind == _DATA and flags & _PADDED != 0)
        if len(rest) < taken:
            return 0
        self._listener.on_frame()
        padding = rest[_FRAME_HEAD_BYTES] if taken > _FRAME_HEAD_BYTES else 0
        self._left = _FRAME_HEAD_BYTES + length - taken
        if self._left < padding:  # or the next frame would begin elsewhere for the other end
            raise BrokenConnectionError(f"{padding} bytes of padding in a frame of {length}")
        self._stream, self._data_left = stream, self._left - padding if kind == _DATA else 0
        self._is_last = kind == _DATA and flags & _END_STREAM != 0
        passed.append(rest[:taken])
        self._end_frame()
        return taken

    def _pass(self, rest: memoryview, passed: list[bytes | memoryview]) -> int:
        piece = rest[: self._left]
        if self._data_left:
            self._listener.on_data(self._stream, piece[: self._data_left])
            self._data_left = max(self._data_left - len(piece), 0)
        self._left -= len(piece)
        passed.append(piece)
        self._end_frame()
        return len(piece)

    def _end_frame(self) -> None:
        if self._is_last and not self._left:
            self._is_last = False
            self._listener.on_end(self._stream)

    def _read(self, kind: int, flags: int, stream: int, frame: bytes) -> bytes:
        """What to send on for a frame that came whole."""
        payload = frame[_FRAME_HEAD_BYTES:]
        if kind == _RST_STREAM:
            self._listener.on_reset(stream)
            return frame
        if kind == _SETTINGS:
            return frame if flags & _ACK else _frame(kind, 0, 0, self._limited(payload))
        if kind == _HEADERS:
            begin, end = 0, len(payload)
            if flags & _PADDED:
                begin, end = 1, end - payload[0] if payload else 0
            if flags & _PRIORITY:
                begin += _PRIORITY_BYTES
            if not stream or begin > end:
                raise BrokenConnectionError("malformed headers")
            self._block, self._block_stream = bytearray(payload[begin:end]), stream
            self._is_last = flags & _END_STREAM != 0
        elif stream == self._block_stream and (payload or flags & _END_HEADERS):  # empty ones could go on for ever
            self._block += payload
        else:
            raise BrokenConnectionError("a continuation of nothing, or with nothing")
        if len(self._block) > MAX_HEAD_BYTES:
            raise BrokenConnectionError("headers without an end")
        return self._headers() if flags & _END_HEADERS else b""

    def _headers(self) -> bytes:
        stream, self._block_stream = self._block_stream, 0
        is_last, self._is_last = self._is_last, False
        try:
            fields = dict(self._decoder.decode(bytes(self._block), raw=True))
        except HPACKError as error:
            raise BrokenConnectionError(f"headers that cannot be read: {error}") from error
        added = self._listener.on_headers(stream, fields, is_end=is_last)
        for name, value in added.items():
            self._block += _ENCODER.encode([NeverIndexedHeaderTuple(name, value)], huffman=False)
        pieces = [bytes(self._block[at : at + _FRAME_BYTES]) for at in range(0, len(self._block) or 1, _FRAME_BYTES)]
        self._block.clear()
        frames = [
            _frame(
                _CONTINUATION if index else _HEADERS,
                (_END_HEADERS if index == len(pieces) - 1 else 0) | (_END_STREAM if is_last and not index else 0),
                stream,
                piece,
            )
            for index, piece in enumerate(pieces)
        ]
        return b"".join(frames)

    def _limited(self, payload: bytes) -> bytes:
        """Settings without what exceeds a limit, and with all that have one."""
        if len(payload) % 6:
            raise BrokenConnectionError("malformed settings")
        given = {key: min(value, self._highest.get(key, value)) for key, value in struct.iter_unpack(">HI", payload)}
        self._settings |= {key: value for key, value in given.items() if key in self._settings}
        return b"".join(struct.pack(">HI", key, value) for key, value in (given | self._settings).items())


def go_away(last_stream: int, code: int = NO_ERROR, reason: str = "") -> bytes:
    """The frame after which a client starts no more streams; those after the last one it starts elsewhere."""
    return _frame(_GO_AWAY, 0, 0, struct.pack(">II", last_stream, code) + reason.encode())


def last_headers(stream: int, fields: Fields) -> bytes:
    """Headers or trailers that end an answer, and the request with it."""
    block = _ENCODER.encode([NeverIndexedHeaderTuple(*one) for one in fields.items()], huffman=False)
    ended = _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, block)
    return ended + _frame(_RST_STREAM, 0, stream, NO_ERROR.to_bytes(4))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload
