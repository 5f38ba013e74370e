"""Reads JSON as TensorFlow Serving does (`util/json_tensor.cc`, RapidJSON with NaN and Infinity)."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import orjson

from serving.protocol.errors import invalid_argument

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BASE64_KEY = "b64"
_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1
# A value in an error text: enough to recognise it, not a body of 100 MB.
_SHOWN = 1024


def parse(body: bytes) -> dict[str, Any]:
    """The object in a request's body; of repeated keys the last one counts."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            document = _parse_with_tokens(body)
        except (ValueError, TypeError, RecursionError):
            text = f"JSON Parse error: Invalid value. at offset: {error.pos} ({error.msg})"
            raise invalid_argument(text) from None
    if type(document) is not dict:
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    return document


def shown(value: Any) -> str:
    """A value in an error text, cut at 1024 characters."""
    text = ""
    # Piece by piece, so that the rest is never made.
    for piece in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        text += piece
        if len(text) > _SHOWN:
            return f"{text[:_SHOWN]}…"
    return text


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "…"}`."""
    return type(value) is dict and len(value) == 1 and type(value.get(_BASE64_KEY)) is str


def decode_base64(value: dict[str, str]) -> bytes:
    """The bytes of `{"b64": "…"}`; as in absl, padding is optional and white space is skipped."""
    text = value[_BASE64_KEY]
    try:
        return b64decode(text, validate=True)
    except ValueError:
        bare = "".join(text.split()).rstrip("=.")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        raise invalid_argument("Unable to base64 decode") from None


def _parse_with_tokens(body: bytes) -> Any:
    if b"NaN" not in body and b"Infinity" not in body:
        raise ValueError("there is nothing that orjson does not know")
    document = json.loads(body.decode(), parse_int=_integer)
    if rb"\ud" in body.lower():
        # The standard library lets half a surrogate pair through, orjson does not write it.
        orjson.dumps(document)
    return document


def _integer(digits: str) -> int | float:
    """An integer, or a double if 64 bits do not hold it, as in RapidJSON and orjson."""
    number = int(digits) if len(digits) < len(str(_UINT64_MAX)) + 1 else float(digits)
    return number if _INT64_MIN <= number <= _UINT64_MAX else float(number)
