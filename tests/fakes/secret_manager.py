"""Google's Secret Manager with one secret.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

import base64
import json

from tests.fakes.loopback_server import Answer, LoopbackServer, Refused, Request

NAME, VALUE = "projects/p/secrets/slack/versions/latest", "s3cr3t"


class SecretManager(LoopbackServer):
    """Gives the newest version of one secret, `value`."""

    value = VALUE

    def handle(self, request: Request) -> Answer:
        assert request.method == "GET"
        if request.path != f"/v1/{NAME}:access":
            raise Refused(404, "not found")
        data = base64.b64encode(f"{self.value}\n".encode()).decode()
        return Answer(200, json.dumps({"name": NAME, "payload": {"data": data}}).encode())

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, json.dumps({"error": {"code": status, "message": message}}).encode())
