"""A Docker registry on loopback: the look-ups of its HTTP API, with or without a login, and what `docker push` does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from tests.fakes.loopback_server import Answer, LoopbackServer, Refused, Request

NAME = "team/slipway"
_WANTED = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}


@dataclass
class FakeRegistry(LoopbackServer):
    """Holds tags of one repository; anything that the specification does not have is refused."""

    login: str = ""  # user:password; empty lets everybody in
    identity: str = ""  # a token that is changed for others, as of Azure's registries
    challenges: str = ""  # before the one for a token, as some registries send
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        return f"{self.url.removeprefix('http://')}/{NAME}"

    def push(self, tag: str) -> str:
        """Stores an image; its digest depends on the tag alone."""
        self.tags[tag] = f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"
        return f"{self.repository}@{self.tags[tag]}"

    def refuse(self, status: int, message: str) -> Answer:
        headers: tuple[tuple[str, str], ...] = ()
        if status == 401 and self.login:
            scope = f"repository:{NAME}:pull"
            challenge = f'Bearer realm="{self.url}/token",service="fake",scope="{scope}"'
            headers = (("WWW-Authenticate", self.challenges + challenge),)
        return Answer(status, json.dumps({"errors": [{"message": message}]}).encode(), headers=headers)

    def handle(self, request: Request) -> Answer:
        if request.path == "/token":
            return self._token(request)
        found = re.fullmatch(rf"/v2/{NAME}/manifests/([\w][\w.-]{{0,127}}|sha256:[0-9a-f]{{64}})", request.path)
        if not found or request.method not in {"HEAD", "PUT"} or request.query:
            raise Refused(400, f"no such call: {request}")
        if self.login and request.headers.get("authorization") != "Bearer good":
            raise Refused(401, "log in")
        if request.method == "PUT":
            if ":" in found[1]:
                raise Refused(400, "a push by digest brings the manifest of that digest")
            self.push(found[1])
            return Answer(201, b"")
        if not set(request.headers["accept"].split(", ")) >= _WANTED:
            raise Refused(400, f"accepts {request.headers['accept']} only")
        digest = found[1] if found[1] in self.tags.values() else self.tags.get(found[1])
        if digest is None:
            raise Refused(404, "manifest unknown")
        return Answer(200, b"", headers=(("Docker-Content-Digest", digest),))

    def _token(self, request: Request) -> Answer:
        if request.method == "POST":  # https://distribution.github.io/distribution/spec/auth/oauth/
            asked = dict(parse_qsl(request.body.decode()))
            scope = {"service": "fake", "scope": f"repository:{NAME}:pull", "client_id": "slipway"}
            if asked != {"grant_type": "refresh_token", "refresh_token": self.identity, **scope}:
                raise Refused(401, "wrong token")
            return Answer(200, b'{"access_token": "good", "expires_in": 60}')
        scopes = [f"repository:{NAME}:pull", f"repository:{NAME}:pull,push"]  # the latter is docker's, to push
        if request.query not in [{"service": "fake", "scope": scope} for scope in scopes]:
            raise Refused(400, f"unknown scope {request.query}")
        basic = base64.b64encode(self.login.encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            raise Refused(401, "wrong password")
        return Answer(200, b'{"token": "good", "expires_in": 60}')
