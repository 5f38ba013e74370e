"""What an API server means by an answer that is no success."""

from __future__ import annotations

import json
from typing import Any

from slipway.errors import ClusterError

_RETRIED = {429, 500, 502, 503, 504}
# Of a pod, or of what is on the way to it: not yet, or not now.
_PASSING = {502, 503, 504}


class StaleError(Exception):
    """An object changed between a read and a write; the caller reads it again."""


class OwnedError(Exception):
    """Another manager owns fields with other values than those that we apply."""


class NotFoundError(ClusterError):
    """There is no such object."""


class PodAnswerError(ClusterError):
    """A pod, not the API server, answered with an error."""


def judge(what: str, namespace: str, error: Any) -> ClusterError:
    """The error to raise when no attempt is left; raises at once where another attempt cannot help.

    Args:
        what: What was asked.
        namespace: Where.
        error: `kubernetes.client.exceptions.ApiException`.

    Raises:
        StaleError, OwnedError: 409.
        NotFoundError: 404.
        PodAnswerError: a pod answered, through the proxy.
        ClusterError: the server will say the same again.
    """
    message, by_server = _message(error)
    if not by_server and "/proxy" in what and error.status not in _PASSING:
        raise PodAnswerError(f"{what}: {error.status}, {message}") from error
    if error.status == 404:
        raise NotFoundError(f"{what} in namespace {namespace}: {message}") from error
    if error.status == 409:
        raise (OwnedError if b"FieldManagerConflict" in (error.body or b"") else StaleError)(message) from error
    if error.status in {401, 403}:
        raise ClusterError(
            f"{what}: {error.status}, {message}; manifests/rollout-access has the rights that a rollout needs"
        ) from error
    told = ClusterError(f"{what}: the API server answers {error.status}: {message}")
    if error.status not in _RETRIED:
        raise told from error
    return told


def _message(error: Any) -> tuple[str, bool]:
    """What an answer says, but not all of a page; and whether it is a Status object, which the API server writes."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    try:
        content = json.loads(body)
        if content["kind"] == "Status":
            return str(content.get("message", "")), True
    except (ValueError, KeyError, TypeError):
        pass
    return body[:500], False
