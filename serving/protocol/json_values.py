"""Reads JSON as TensorFlow Serving does: RapidJSON with the flags of `ParseJson` in `util/json_tensor.cc`.

They are kParseNanAndInfFlag and kParseStopWhenDoneFlag; kParseValidateEncodingFlag is not set.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from itertools import chain
from typing import Any

import orjson

from serving.protocol.errors import invalid_argument

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BASE64_KEY = "b64"
_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1
_KEY_END = re.compile(rb'"[ \t\r\n]*:')
_STRING_OR_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:Inf(?:inity)?|NaN)', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")  # that is how Python decodes a byte that is no UTF-8
# A value in an error text: enough to recognise it, not a body of 100 MB.
_SHOWN = 1024


def parse(body: bytes) -> dict[str, Any]:
    """The object in a request's body; of repeated keys the first one counts.

    Text after the object is ignored. A string with bytes that are no UTF-8 becomes `{"b64": "…"}`.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = _read(body)
    except orjson.JSONDecodeError as error:
        text = f"JSON Parse error: Invalid value. at offset: {error.pos} ({error.msg})"
        raise invalid_argument(text) from None
    except RecursionError:
        raise invalid_argument("JSON Parse error: The document is nested too deeply") from None
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


def _read(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            return _read_leniently(body)
        except (ValueError, RecursionError):
            raise error from None
    return _read_leniently(body) if _repeats_a_key(body, document) else document


def _repeats_a_key(body: bytes, document: Any) -> bool:
    """Whether the body may have more keys than what was read from it; a string with `":` in it counts as one, too."""
    unseen, level = len(_KEY_END.findall(body)), [document]
    while level and (unseen := unseen - sum(len(value) for value in level if type(value) is dict)):
        inside = (value.values() if type(value) is dict else value for value in level)
        level = [each for each in chain.from_iterable(inside) if type(each) is dict or type(each) is list]
    return bool(unseen)


def _read_leniently(body: bytes) -> Any:
    """Reads what orjson does not, at a third of its speed."""
    text = _STRING_OR_TOKEN.sub(_as_python_reads, body.decode(errors="surrogateescape")).lstrip(" \t\r\n")
    document, _ = _DECODER.raw_decode(text)
    return document if body.isascii() else _without_surrogates(document)


def _as_python_reads(match: re.Match[str]) -> str:
    found = match[0]
    if found[0] != '"':
        return "NaN" if "N" in found else "-Infinity" if found[0] == "-" else "Infinity"
    if "\\u" in found:
        orjson.loads(_SURROGATE.sub("", found))  # the standard library lets half of a surrogate pair through
    return found


def _without_surrogates(value: Any) -> Any:
    if type(value) is dict:
        return {_SURROGATE.sub("\ufffd", name): _without_surrogates(each) for name, each in value.items()}
    if type(value) is list:
        return [_without_surrogates(each) for each in value]
    if type(value) is str and _SURROGATE.search(value):
        return {_BASE64_KEY: b64encode(value.encode(errors="surrogateescape")).decode()}
    return value


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _integer(digits: str) -> int | float:
    """An integer, or a double if 64 bits do not hold it, as in RapidJSON and orjson."""
    number = int(digits) if len(digits) < len(str(_UINT64_MAX)) + 1 else _double(digits)
    return number if _INT64_MIN <= number <= _UINT64_MAX else float(number)


def _double(digits: str) -> float:
    """A double; ValueError if it is too large, which RapidJSON refuses, too."""
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits} is too big to be a double")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_first_of_each, parse_int=_integer, parse_float=_double)
