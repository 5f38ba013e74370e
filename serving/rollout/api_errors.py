"""Errors of the Kubernetes API server, from the statuses and bodies of its responses."""

from __future__ import annotations

import json
from typing import Any

from slipway.errors import ClusterError
from slipway.remote.retries import TRANSIENT_STATUSES

# Of a pod, or of what is on the way to it: not yet, or not now.
_POD_TRANSIENT = {502, 503, 504}


class StaleError(Exception):
    """An object changed between a read and a write; the caller reads it again."""


class OwnedError(Exception):
    """Another manager owns fields with other values than those that we apply."""


class NotFoundError(ClusterError):
    """There is no such object."""


class PodAnswerError(ClusterError):
    """A pod, not the API server, answered with an error."""


class TransientError(ClusterError):
    """The next attempt may succeed; `retry_after` is the pause in seconds that the server asks for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def api_error(what: str, namespace: str, error: Any) -> Exception:
    """The error to raise for a failed request.

    Args:
        what: The request.
        namespace: Its namespace.
        error: `kubernetes.client.exceptions.ApiException`.

    Returns:
        `StaleError` or `OwnedError` for 409, `NotFoundError` for 404, `PodAnswerError` where a pod responded through
        the proxy, `TransientError` where another attempt may help, and else `ClusterError`.
    """
    message, is_by_server = _message(error)
    if not is_by_server and "/proxy" in what and error.status not in _POD_TRANSIENT:
        return PodAnswerError(f"{what}: {error.status}, {message}")
    if error.status == 404:
        return NotFoundError(f"{what} in namespace {namespace}: {message}")
    if error.status == 409:
        return (OwnedError if b"FieldManagerConflict" in (error.body or b"") else StaleError)(message)
    if error.status in {401, 403}:
        return ClusterError(
            f"{what}: {error.status}, {message}; manifests/rollout-access has the rights that a rollout needs"
        )
    told = f"{what}: the API server answers {error.status}: {message}"
    if error.status not in TRANSIENT_STATUSES:
        return ClusterError(told)
    asked = (error.headers or {}).get("Retry-After", "")
    return TransientError(told, float(asked) if asked.isdigit() else None)


def _message(error: Any) -> tuple[str, bool]:
    """The message of a response, 500 letters at most; and whether it is the API server's, a Status object."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    try:
        content = json.loads(body)
        if content["kind"] == "Status":
            return str(content.get("message", "")), True
    except (ValueError, KeyError, TypeError):
        pass
    return body[:500], False
