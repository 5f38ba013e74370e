"""What the URLs of the REST API name (`model_servers/http_rest_api_util.cc`)."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from serving.server.errors import invalid_argument

_VERSION = rb"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_INFERENCE = re.compile(rb"(?i)/v1/models/([^/:]+)" + _VERSION + rb":(classify|regress|predict)")
_MODEL = re.compile(rb"(?i)/v1/models(?:/([^/:]+))?" + _VERSION + rb"(?:/(metadata))?")
_API = re.compile(rb"(?i)/v1/.*", re.DOTALL)
_INT64_MAX = (1 << 63) - 1


class Target(NamedTuple):
    """A model, perhaps one version of it or a label, and what is asked of it; `method` keeps the URL's case."""

    model: str
    version: int | None
    label: str | None
    method: str


def is_api(target: bytes) -> bool:
    """Whether a path belongs to the API; any other is not found."""
    return _API.fullmatch(target) is not None


def inference_target(target: bytes) -> Target | None:
    """What a POST names; None if it is malformed.

    Raises:
        ServingError: the version has more digits than a number may have.
    """
    match = _INFERENCE.fullmatch(target)
    wanted = _target(match) if match else None
    # TensorFlow Serving ignores the case of a URL when it matches it, but not when it looks for the method.
    return wanted if wanted and wanted.method.islower() else None


def model_target(target: bytes) -> Target | None:
    """What a GET names, with the method `metadata` or none; None if it is malformed. Errors as `inference_target`."""
    match = _MODEL.fullmatch(target)
    return _target(match) if match else None


def _target(match: re.Match[bytes]) -> Target:
    model, version, label, method = match.groups(default=b"")
    return Target(_decoded(model), _number(version) if version else None, _decoded(label) or None, method.decode())


def _number(version: bytes) -> int:
    digits = version.lstrip(b"0") or b"0"
    # The length first: of thousands of digits Python makes no number.
    if len(digits) > len(str(_INT64_MAX)) or int(digits) > _INT64_MAX:
        raise invalid_argument(f"Failed to convert version: {version.decode()} to numeric.")
    return int(digits)


def _decoded(name: bytes) -> str:
    return unquote_to_bytes(name).decode(errors="replace") if name else ""
