"""Connections to platforms: complete settings, bounded retries, and errors that name the fix. No client is imported."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from settings.schema import Kubeflow, Vertex
from slipway.errors import ConfigError, TargetError
from slipway.remote.retries import TRANSIENT_STATUSES, retrying, tried

_VERTEX_FORMS = {
    "pipeline_root": (r"gs://.+", "gs://BUCKET/PATH"),
    "encryption_key": (
        r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+",
        "projects/P/locations/L/keyRings/R/cryptoKeys/K",
    ),
    "network": (r"projects/\d+/global/networks/[^/]+", "projects/NUMBER/global/networks/NAME"),
    "network_attachment": (
        r"projects/[^/]+/regions/[^/]+/networkAttachments/[^/]+",
        "projects/P/regions/R/networkAttachments/NAME",
    ),
}

_CRON_FIX = "change schedules.<name>.cron in the settings to what this server reads"


class KubeflowConfig(Kubeflow):
    """The Kubeflow settings of one environment, complete enough to connect; `environment` labels its runs."""

    environment: str

    @model_validator(mode="after")
    def _require_complete(self) -> Self:
        if not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"kubeflow.endpoint = {self.endpoint!r}: set it in settings/<environment>.yaml to the address of the "
                "API, with http:// or https://, as https://kubeflow.example.com/pipeline"
            )
        if self.auth in ("token", "cookie") and not (self.credential_variable or self.credential_file):
            raise ConfigError(
                f"kubeflow.auth = {self.auth!r} needs kubeflow.credential_variable or kubeflow.credential_file: the "
                f"name of the variable, or the file, that holds the {self.auth}"
            )
        if self.ca_file and not Path(self.ca_file).is_file():
            raise ConfigError(f"kubeflow.ca_file = {self.ca_file!r}: there is no such file")
        return self

    @property
    def url(self) -> str:
        """URL of the API, without a slash at its end."""
        return self.endpoint.rstrip("/")

    def page(self, path: str) -> str:
        """URL of a page of the UI."""
        return f"{(self.ui or self.endpoint).rstrip('/')}/#/{path}"


class VertexConfig(Vertex):
    """The Vertex settings of one environment, complete enough to connect; `environment` labels its runs."""

    environment: str

    @model_validator(mode="after")
    def _require_complete(self) -> Self:
        wanted = {"project": "my-project", "location": "europe-west4", "pipeline_root": "gs://my-bucket/artifacts"}
        for name, example in wanted.items():
            if not getattr(self, name):
                raise ConfigError(
                    f"vertex.{name} is not set: add vertex: {{{name}: {example}}} to settings/<environment>.yaml"
                )
        for name, (pattern, form) in _VERTEX_FORMS.items():
            value = getattr(self, name)
            if value and not re.fullmatch(pattern, value):
                raise ConfigError(f"vertex.{name} = {value!r}: Vertex wants it as {form}")
        if self.network and self.network_attachment:
            raise ConfigError(
                "vertex.network and vertex.network_attachment are both set: the tasks reach a VPC by peering, or by an "
                "interface of Private Service Connect; leave one of them out"
            )
        if self.network_attachment and self.network_attachment.split("/")[3] != self.location:
            raise ConfigError(
                f"vertex.network_attachment = {self.network_attachment!r}: it must be in the region of the runs, "
                f"vertex.location = {self.location!r}"
            )
        for key, value in self.labels.items():
            if not (re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) and re.fullmatch(r"[a-z0-9_-]{0,63}", value)):
                raise ConfigError(
                    f"vertex.labels: {key}: {value!r} is no label: at most 63 lower-case letters, digits, _ and -, the "
                    "key beginning with a letter"
                )
        return self

    @property
    def parent(self) -> str:
        """Name of the parent resource of all others."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def url(self) -> str:
        """URL of the API."""
        return self.endpoint or f"https://{self.location}-aiplatform.googleapis.com"

    def page(self, path: str) -> str:
        """URL of a page of the console."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self.location}/pipelines/{path}"
            f"?project={self.project}"
        )


class Connection(ABC):
    """Sends requests to a platform.

    Attributes:
        setting: The group of the settings that messages name.
        timeouts: Errors of the client for a request that took too long: exactly these, since urllib3 derives its error
            for a refused connection from one.
        lost: Errors of the client that may be gone at the next attempt.
    """

    setting: ClassVar[str]
    timeouts: ClassVar[tuple[type[Exception], ...]]
    lost: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.url = url
        self.timeout_seconds = timeout_seconds

    def call(
        self,
        what: str,
        request: Callable[..., Any],
        /,
        *,
        already: Callable[[], Any] = lambda: None,
        missing_ok: bool = False,
        **arguments: Any,
    ) -> Any:
        """Sends one request, with retries of transient failures.

        Args:
            what: Description that completes "cannot …".
            request: A method of the client.
            already: Looks up the object that the request is to create. A failed attempt may have created it although
                its response was lost, or another process may have been faster.
            missing_ok: Whether to return None for the status 404.
            arguments: Arguments of the method.

        Raises:
            TargetError: it is refused, or all attempts failed; the message names the fix.
        """
        attempts = itertools.count()

        def attempt() -> Any:
            found = already() if next(attempts) else None
            return self._send(request, arguments) if found is None else found

        try:
            return retrying(self._is_transient)(attempt)
        except (TargetError, ConfigError):
            raise
        except Exception as error:
            status = self._status(error)
            if status == 404 and missing_ok:
                return None
            if status == 409 and (found := already()) is not None:
                return found
            raise TargetError(f"cannot {what}{tried(error)}: {self._explain(error)}") from error

    def _is_transient(self, error: BaseException) -> bool:
        return self._status(error) in TRANSIENT_STATUSES or isinstance(error, self.lost)

    def _explain(self, error: Exception) -> str:
        """Reason of a failure, and the fix; without the request, which may contain a secret."""
        if status := self._status(error):
            said = self._said(error)
            about_cron = status == 400 and re.search(r"\bcron\b", said, re.IGNORECASE)
            return f"{self.url} answers {status}{said}: {_CRON_FIX if about_cron else self._fix(status)}"
        if type(error) in self.timeouts:
            return (
                f"{self.url} does not answer within {self.timeout_seconds:g} s: is {self.setting}.endpoint right, and "
                f"reachable from here? {self.setting}.timeout_seconds sets the time"
            )
        return self._explain_connection(error)

    @abstractmethod
    def _send(self, request: Callable[..., Any], arguments: dict[str, Any]) -> Any: ...

    @abstractmethod
    def _status(self, error: BaseException) -> int | None: ...

    @abstractmethod
    def _said(self, error: Any) -> str: ...

    @abstractmethod
    def _fix(self, status: int) -> str: ...

    @abstractmethod
    def _explain_connection(self, error: Exception) -> str: ...
