"""REST requests as short as the suite wants them."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from tests.conformance.model import NAME


@dataclass(frozen=True)
class RestAnswer:
    """Status, content type and what the body holds as JSON; None if it is no JSON."""

    status: int
    content_type: str
    text: str
    json: Any

    @property
    def error(self) -> tuple[int, str]:
        """Status and text of an answer in the form `{"error": "…"}`."""
        assert self.content_type == "application/json"
        assert self.json.keys() == {"error"}
        return self.status, self.json["error"]


class RestCalls:
    """A connection for each request, so that no answer depends on the one before."""

    def __init__(self, address: str) -> None:
        self._address = address

    def request(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> RestAnswer:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        content_type = answer.headers.get_content_type()
        return RestAnswer(
            answer.status, content_type, text, json.loads(text) if content_type == "application/json" else None
        )

    def get(self, path: str = "", model: str = NAME) -> RestAnswer:
        """`path` follows the model's name."""
        return self.request("GET", f"/v1/models/{model}{path}")

    def post(self, method: str, body: Any, path: str = "", model: str = NAME) -> RestAnswer:
        """`path` is a version or a label; a body that is no text is sent as JSON, NaN included."""
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.request("POST", f"/v1/models/{model}{path}:{method}", content)

    def predict(self, body: Any, path: str = "", model: str = NAME) -> RestAnswer:
        return self.post("predict", body, path, model)
