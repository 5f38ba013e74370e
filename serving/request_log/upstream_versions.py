"""The version that answers a REST request without a version: asked from TensorFlow Serving."""

from __future__ import annotations

import json
import logging
import time
from http.client import HTTPConnection, HTTPException

from serving.protocol.urls import model_path

LOGGER = logging.getLogger("slipway.request_log")

FRESH_SECONDS = 1.0
_TIMEOUT_SECONDS = 1.0


class UpstreamVersions:
    """Asks for a model's status, at most once a second for each model and label; for one thread.

    Args:
        upstream: `host:port` of TensorFlow Serving's REST.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._known: dict[tuple[str, str], tuple[float, int | None]] = {}

    def __call__(self, model: str, label: str) -> int | None:
        """The newest available version, or the label's; None if the upstream does not say."""
        asked, version = self._known.get((model, label), (0.0, None))
        if time.monotonic() - asked >= FRESH_SECONDS:
            version = self._ask(model, label)
            self._known[model, label] = time.monotonic(), version
        return version

    def _ask(self, model: str, label: str) -> int | None:
        path = model_path(model, label=label)
        connection = HTTPConnection(self._upstream, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            versions = json.loads(connection.getresponse().read())["model_version_status"]
            return max((int(each["version"]) for each in versions if each["state"] == "AVAILABLE"), default=None)
        except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
            LOGGER.debug("%s%s: %s", self._upstream, path, error)
            return None
        finally:
            connection.close()
