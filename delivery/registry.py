"""Whether an image is in its registry: the Docker Registry HTTP API, version 2.

https://distribution.github.io/distribution/spec/api/ and, for tokens, …/spec/auth/token/ and …/spec/auth/oauth/.
Google's take an access token as the password of `oauth2accesstoken`; others the login that `docker login` or
`podman login` saved.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from google.auth.exceptions import GoogleAuthError

from slipway.errors import ConfigError, DeliveryError
from slipway.remote import google_login
from slipway.remote.retries import TRANSIENT_STATUSES, retrying, tried

_TIMEOUT_SECONDS = 20.0
_REPOSITORY = re.compile(r"[a-z0-9.-]+(:\d+)?/([a-z0-9]+([._/-]+[a-z0-9]+)*)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_GOOGLE = re.compile(r"([a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io)")
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?")
# Docker Hub: where it answers, and what its login is kept under.
_HUB, _HUB_SERVER, _HUB_KEY = "docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


class _Login(NamedTuple):
    """A saved login, of which one is set; neither where a registry is asked without any."""

    basic: str = ""  # user:password in base64
    identity: str = ""  # a token that is changed for others, as Azure's registries want


class ImageRegistry:
    """The images of one repository."""

    def __init__(self, repository: str) -> None:
        """Takes a repository as `host/name`, without a tag.

        Raises:
            ConfigError: the repository's name is wrong.
        """
        if not _REPOSITORY.fullmatch(repository):
            raise ConfigError(
                f"delivery.image_repository = {repository!r}: give host and name without a tag, like "
                "registry.example.com/team/slipway"
            )
        self.repository = repository
        self._host, _, self._name = repository.partition("/")
        self._is_google = _GOOGLE.fullmatch(self._host) is not None

    def digest(self, tag: str) -> str | None:
        """`repository@sha256:…` of a tag; None where there is no such image.

        Raises:
            DeliveryError: the registry refuses, does not answer, or answers something else.
        """
        try:
            with requests.Session() as session:
                session.headers["Accept"] = _MANIFESTS
                answer = self._look_up(session, tag)
        except requests.exceptions.SSLError as error:
            raise DeliveryError(
                f"the certificate of the registry {self._host} is not trusted ({error}); name the file of the CA that "
                "signed it in REQUESTS_CA_BUNDLE"
            ) from error
        except requests.RequestException as error:
            raise DeliveryError(
                f"the registry {self._host} does not answer{tried(error)} ({type(error).__name__}: {error}); check "
                "the network and delivery.image_repository"
            ) from error
        if answer.status_code == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status_code != 200 or not _DIGEST.fullmatch(digest):
            raise DeliveryError(f"{self.repository}:{tag}: {self._refusal(answer)}")
        return f"{self.repository}@{digest}"

    def _look_up(self, session: requests.Session, tag: str) -> requests.Response:
        scheme = "http" if _LOOPBACK.fullmatch(self._host) else "https"
        server = _HUB_SERVER if self._host == _HUB else self._host
        url = f"{scheme}://{server}/v2/{self._name}/manifests/{tag}"
        login = _google_login(self._host) if self._is_google else _saved_login(self.repository)
        session.auth = _authorization(f"Basic {login.basic}" if login.basic else "")
        answer = _ask(session, "HEAD", url)
        challenge = re.search(r"\bbearer (.*)", answer.headers.get("WWW-Authenticate", ""), re.IGNORECASE)
        if answer.status_code == 401 and challenge:
            session.auth = _authorization(f"Bearer {self._token(session, challenge[1], login.identity)}")
            answer = _ask(session, "HEAD", url)
        return answer

    def _token(self, session: requests.Session, challenge: str, identity: str) -> str:
        """Exchanges the login for a token, at the address that the registry names."""
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = fields.pop("realm", "")
        address = urlsplit(realm)
        if address.scheme != "https" and not _LOOPBACK.fullmatch(address.netloc):
            raise DeliveryError(f"the registry {self._host} names {realm!r} for tokens, which is not an https address")
        query = {name: fields[name] for name in ("service", "scope") if name in fields}
        if identity:
            form = {**query, "grant_type": "refresh_token", "client_id": "slipway", "refresh_token": identity}
            answer = _ask(session, "POST", realm, data=form, allow_redirects=False)
        else:
            answer = _ask(session, "GET", realm, params=query, allow_redirects=False)
        try:
            content = answer.json() if answer.status_code == 200 else {}
        except ValueError:
            content = {}
        token = content.get("token") or content.get("access_token")
        if not isinstance(token, str):
            raise DeliveryError(f"{self.repository}: {self._refusal(answer)}")
        return token

    def _refusal(self, answer: requests.Response) -> str:
        if answer.status_code in (401, 403):
            advice = (
                "give the account roles/artifactregistry.reader on the repository (writer, to deploy)"
                if self._is_google
                else f"log in: docker login {self._host}"
            )
            return f"the registry refuses ({answer.status_code}); {advice}"
        return (
            f"the registry answers {answer.status_code} without the digest of an image; check that "
            "delivery.image_repository is a Docker repository"
        )


def _ask(session: requests.Session, method: str, url: str, **query: Any) -> requests.Response:
    again = retrying(requests.RequestException, is_busy=lambda answer: answer.status_code in TRANSIENT_STATUSES)
    answer: requests.Response = again(session.request, method, url, timeout=_TIMEOUT_SECONDS, **query)
    return answer


def _authorization(value: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Sets the header of a request. An empty one is needed too: without any, requests sends a login of ~/.netrc."""

    def set_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if value:
            request.headers["Authorization"] = value
        return request

    return set_header


def _google_login(host: str) -> _Login:
    try:
        return _encode("oauth2accesstoken", google_login.access_token())
    except GoogleAuthError as error:
        raise DeliveryError(
            f"no valid Google credentials for {host} ({error}); {google_login.HOW_TO_LOG_IN}"
        ) from error


def _saved_login(repository: str) -> _Login:
    """The login that `docker login` or `podman login` saved for a repository, the one of the longest name."""
    host = repository.partition("/")[0]
    docker, podman, runtime = map(os.environ.get, ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"))
    files = [Path(podman)] if podman else []
    files.append((Path(docker) if docker else Path.home() / ".docker") / "config.json")
    files += [Path(runtime) / "containers" / "auth.json"] if runtime else []
    for path in files:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read ({error}); log in again, or remove it") from error
        logins = {_place(key): login for key, login in content.get("auths", {}).items()}
        fitting = [place for place in logins if f"{repository}/".startswith(f"{place}/")]
        login = logins[max(fitting, key=len)] if fitting else {}
        if token := login.get("identitytoken"):
            return _Login(identity=token)
        if auth := login.get("auth"):
            return _Login(auth)
        if helper := content.get("credHelpers", {}).get(host) or content.get("credsStore"):
            return _from_helper(helper, _HUB_KEY if host == _HUB else host)
    return _Login()


def _place(key: str) -> str:
    """What a key of `auths` is for: docker writes `https://index.docker.io/v1/` for its Hub, podman `host/team`."""
    place = re.sub(r"^https?://|(/v[12])?/?$", "", key)
    return _HUB if place == "index.docker.io" else place


def _from_helper(helper: str, host: str) -> _Login:
    """Asks a credential helper, by docker's protocol: the host on standard input, JSON on standard output."""
    command = [f"docker-credential-{helper}", "get"]
    try:
        done = subprocess.run(
            command, input=host, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{' '.join(command)} does not work ({error}); log in to {host} without it") from error
    if done.returncode:
        return _Login()  # it knows nothing of this registry, which may be public
    found = json.loads(done.stdout)
    if found["Username"] == "<token>":  # docker's word for an identity token
        return _Login(identity=found["Secret"])
    return _encode(found["Username"], found["Secret"])


def _encode(user: str, password: str) -> _Login:
    return _Login(base64.b64encode(f"{user}:{password}".encode()).decode())
