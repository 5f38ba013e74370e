"""URLs of the REST API, read and written (`model_servers/http_rest_api_util.cc`)."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from serving.protocol.errors import invalid_argument

_VERSION = rb"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_INFERENCE = re.compile(rb"(?i)/v1/models/([^/:]+)" + _VERSION + rb":(classify|regress|predict)")
_MODEL = re.compile(rb"(?i)/v1/models(?:/([^/:]+))?" + _VERSION + rb"(?:/(metadata))?")
_INT64_MAX = (1 << 63) - 1


class ModelUrl(NamedTuple):
    """A model, perhaps a version or a label of it, and a method; `method` keeps the URL's case."""

    model: str
    version: int | None
    label: str | None
    method: str


def is_api_url(target: bytes) -> bool:
    """Whether a path belongs to the API; any other is not found."""
    return target[:4].lower() == b"/v1/"


def parse_inference_url(target: bytes) -> ModelUrl | None:
    """Parses the URL of a POST; None if it is malformed.

    Raises:
        ServingError: the version does not fit 64 bits.
    """
    match = _INFERENCE.fullmatch(target)
    return _url(match) if match else None


def parse_model_url(target: bytes) -> ModelUrl | None:
    """Parses the URL of a GET, whose method is `metadata` or empty; otherwise as `parse_inference_url`."""
    match = _MODEL.fullmatch(target)
    return _url(match) if match else None


def model_path(model: str, version: int | None = None, label: str | None = None) -> str:
    """The path of a model, of a version, or of a label."""
    path = f"/v1/models/{quote(model, safe='')}"
    if label:
        return f"{path}/labels/{quote(label, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def _url(match: re.Match[bytes]) -> ModelUrl:
    model, version, label, method = match.groups(default=b"")
    return ModelUrl(_decoded(model), _number(version) if version else None, _decoded(label) or None, method.decode())


def _number(version: bytes) -> int:
    digits = version.lstrip(b"0") or b"0"
    # The length first: Python refuses to convert thousands of digits.
    if len(digits) > len(str(_INT64_MAX)) or int(digits) > _INT64_MAX:
        raise invalid_argument(f"Failed to convert version: {version.decode()} to numeric.")
    return int(digits)


def _decoded(name: bytes) -> str:
    return unquote_to_bytes(name).decode(errors="replace") if name else ""
