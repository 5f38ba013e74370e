"""Errors that a model server answers, as gRPC status codes; REST maps the code to an HTTP status.

Whatever reads a request or runs a model raises `ServingError`, so docstrings do not repeat it.
"""

from __future__ import annotations

import re

import grpc

# TensorFlow Serving's model_servers/http_server.cc.
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
# TensorFlow quotes the request, binary data included; TensorFlow Serving cuts at this length.
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e]")
_LIMIT = 1024


class ServingError(Exception):
    """A request that cannot be answered; `code` and `message` are those of TensorFlow Serving."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @classmethod
    def of_status(cls, code: int, message: str) -> ServingError:
        """An error of TensorFlow itself, printable, and cut as TensorFlow Serving cuts it."""
        return cls(_CODES.get(code, grpc.StatusCode.UNKNOWN), cut(_UNPRINTABLE.sub("?", message)))


def cut(message: str) -> str:
    """Cuts a message to TensorFlow Serving's length (`model_servers/grpc_status_util.cc`)."""
    return message if len(message) <= _LIMIT else f"{message[:_LIMIT]}...TRUNCATED"


def invalid_argument(message: str) -> ServingError:
    """The request is wrong."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> ServingError:
    """The request is right, but this server cannot carry it out now."""
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)


def not_found(message: str) -> ServingError:
    """There is no such model or version."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
