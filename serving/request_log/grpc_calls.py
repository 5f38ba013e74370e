"""The gRPC calls of one connection that passes through: each gets an id, and some are offered to the log.

Of a call that the log wants, copies of both messages are made while there is room for them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import uuid4

import grpc

from serving.protocol.limits import FRAMES_A_PART, FRAMES_A_SECOND, MAX_COPIED_BYTES, MAX_FRAMES, MAX_STREAMS
from serving.request_log.call_rows import MAX_CALL_BYTES, METHODS, LoggedCall
from serving.request_log.http2 import ENHANCE_YOUR_CALM, BrokenConnectionError, Fields, last_headers
from serving.request_log.log import RequestLog

_LOGGED = {f"/tensorflow.serving.PredictionService/{name.capitalize()}".encode(): name for name in METHODS}
_ID = b"x-request-id"
_CODES = {b"%d" % code.value[0]: code for code in grpc.StatusCode}
_MESSAGE_HEAD_BYTES = 5  # whether it is compressed, and its length
_CALL_BYTES = 1 << 10  # of a call apart from its id and messages


class Copies:
    """The log, and the bytes of all connections that are kept for it."""

    def __init__(self, log: RequestLog) -> None:
        self.log = log
        self.size = 0

    def has_room(self, size: int) -> bool:
        """Whether so many more bytes may be kept."""
        return self.size + size <= MAX_COPIED_BYTES


@dataclass(slots=True)
class _Call:
    """One call; `method` is empty if the log does not want it, and `drop` says why copies of it were given up."""

    request_id: bytes
    method: str
    started: float = field(default_factory=time.time)
    begin: float = field(default_factory=time.perf_counter)
    is_answered: bool = False
    drop: str = ""
    request: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)

    @property
    def message_bytes(self) -> int:
        return len(self.request) + len(self.answer)

    @property
    def size(self) -> int:
        """Bytes of all that is kept; the client decides how long the id is."""
        return _CALL_BYTES + len(self.request_id) + self.message_bytes


class Calls:
    """The calls that are not answered yet, by stream; None for those that there was no room for.

    `requests` and `answers` listen to the two directions; `heard` is when a part of a call came last, by
    `time.monotonic`.
    """

    def __init__(self, copies: Copies) -> None:
        self.heard = self._refilled = time.monotonic()
        self._frames = float(MAX_FRAMES)  # that the client may send
        self.open: dict[int, _Call | None] = {}
        self.last_stream = 0
        self._copies = copies
        self.requests = _Requests(self)
        self.answers = _Answers(self)

    def hear(self) -> None:
        """A part of a call passes: its headers, or data of it."""
        self.heard = time.monotonic()
        self._frames = min(self._frames + FRAMES_A_PART, MAX_FRAMES)

    def count_frame(self) -> None:
        """Takes a frame off those that the client may send, or pings and empty frames could go on for ever."""
        if self._frames < 1:
            now = time.monotonic()
            self._frames = min(self._frames + (now - self._refilled) * FRAMES_A_SECOND, MAX_FRAMES)
            self._refilled = now
        if self._frames < 1:
            raise BrokenConnectionError("too many frames that are no part of a call", ENHANCE_YOUR_CALM)
        self._frames -= 1

    def begin(self, stream: int, fields: Fields) -> Fields:
        """Follows a new call; returns the field to add to its headers."""
        if len(self.open) >= MAX_STREAMS:
            raise BrokenConnectionError(f"more than {MAX_STREAMS} calls at a time")
        self.last_stream = stream
        self.hear()
        method = _LOGGED.get(fields[b":path"], "") if b":path" in fields else ""
        given = fields.get(_ID)
        request_id = given or uuid4().hex.encode()
        is_wanted = bool(method) and self._copies.log.wants(request_id.decode("latin-1"))
        call = _Call(request_id, method if is_wanted else "")
        if not self._copies.has_room(call.size):
            self.open[stream] = None
            if is_wanted:
                self._copies.log.miss("busy")
            return {}
        self.open[stream] = call
        self._copies.size += call.size
        return {} if given else {_ID: request_id}

    def copy(self, stream: int, data: memoryview, *, is_answer: bool) -> None:
        """Keeps a piece of a message for the log."""
        if stream in self.open:
            self.hear()
        call = self.open.get(stream)
        if not call or not call.method or call.drop:
            return
        if call.message_bytes + len(data) > MAX_CALL_BYTES:
            call.drop = "too_large"
        elif not self._copies.has_room(len(data)):
            call.drop = "busy"
        if call.drop:
            self._copies.size -= call.message_bytes
            call.request, call.answer = bytearray(), bytearray()
        else:
            self._copies.size += len(data)
            message = call.answer if is_answer else call.request
            message += data

    def answer(self, stream: int, fields: Fields) -> Fields:
        """The first headers of an answer have come; returns the field to add."""
        if stream in self.open:
            self.hear()
        call = self.open.get(stream)
        if not call or call.is_answered:
            return {}
        call.is_answered = True
        return {} if _ID in fields else {_ID: call.request_id}

    def end(self, stream: int, code: grpc.StatusCode) -> None:
        """A call is over; offers it to the log."""
        call = self.open.pop(stream, None)
        if not call:
            return
        self._copies.size -= call.size
        if not call.method or code is grpc.StatusCode.NOT_FOUND:
            return
        if call.drop:
            self._copies.log.miss(call.drop)
            return
        seconds = time.perf_counter() - call.begin
        error = "" if code is grpc.StatusCode.OK else code.name
        request, answer = (bytes(memoryview(each)[_MESSAGE_HEAD_BYTES:]) for each in (call.request, call.answer))
        request_id = call.request_id.decode("latin-1")
        # The model and its version stand in the messages.
        kept = LoggedCall(
            request_id, "grpc", call.method, "", None, request, b"" if error else answer, call.started, seconds,
            error=error,
        )  # fmt: skip
        self._copies.log.offer(kept)

    def give_up(self, why: str) -> bytes:
        """Ends all calls as unavailable; returns what tells the client so."""
        told = b""
        for stream, call in self.open.items():
            if call:
                begin = {} if call.is_answered else {b":status": b"200", b"content-type": b"application/grpc"}
                told += last_headers(stream, {**begin, b"grpc-status": b"14", b"grpc-message": why.encode()})
        self.end_all(grpc.StatusCode.UNAVAILABLE)
        return told

    def end_all(self, code: grpc.StatusCode) -> None:
        """The connection is over."""
        for stream in tuple(self.open):
            self.end(stream, code)


class _Requests:
    """Listens to the client."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.on_frame = calls.count_frame

    def on_headers(self, stream: int, fields: Fields, *, is_end: bool) -> Fields:
        return self._calls.begin(stream, fields) if stream > self._calls.last_stream else {}

    def on_data(self, stream: int, data: memoryview) -> None:
        self._calls.copy(stream, data, is_answer=False)

    def on_end(self, stream: int) -> None: ...

    def on_reset(self, stream: int) -> None:
        self._calls.end(stream, grpc.StatusCode.CANCELLED)


class _Answers:
    """Listens to the upstream."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def on_frame(self) -> None: ...

    def on_headers(self, stream: int, fields: Fields, *, is_end: bool) -> Fields:
        added = self._calls.answer(stream, fields)
        if is_end:
            self._calls.end(stream, _CODES.get(fields.get(b"grpc-status", b""), grpc.StatusCode.UNKNOWN))
        return added

    def on_data(self, stream: int, data: memoryview) -> None:
        self._calls.copy(stream, data, is_answer=True)

    def on_end(self, stream: int) -> None:
        self._calls.end(stream, grpc.StatusCode.UNAVAILABLE)

    on_reset = on_end
