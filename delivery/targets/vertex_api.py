"""Connection to Vertex AI: addresses, credentials, bounded retries, and errors that name the fix.

It stands on the generated clients of google-cloud-aiplatform over REST. `aiplatform.PipelineJob`, which wraps them,
keeps a global configuration, asks the metadata server where it runs, and makes a bucket that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self

from pydantic import model_validator

from delivery.targets.base import send
from settings.schema import Vertex
from slipway.errors import ConfigError, TargetError
from slipway.remote import google_login
from slipway.remote.retries import TRANSIENT_STATUSES, tried

_LOGGING = "https://logging.googleapis.com"
_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")
_NETWORK = re.compile(r"projects/\d+/global/networks/[^/]+")
_LABEL_KEY, _LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")


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
        forms = {"pipeline_root": (re.compile(r"gs://.+"), "gs://BUCKET/PATH"),
                 "encryption_key": (_KEY, "projects/P/locations/L/keyRings/R/cryptoKeys/K"),
                 "network": (_NETWORK, "projects/NUMBER/global/networks/NAME")}  # fmt: skip
        for name, (form, words) in forms.items():
            value = getattr(self, name)
            if value and not form.fullmatch(value):
                raise ConfigError(f"vertex.{name} = {value!r}: Vertex wants it as {words}")
        for key, value in self.labels.items():
            if not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
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

    def console(self, path: str) -> str:
        """URL of a page of the console."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self.location}/pipelines/{path}"
            f"?project={self.project}"
        )


class VertexApi:
    """The services of the API, each called through `call`."""

    def __init__(self, config: VertexConfig) -> None:
        self.config = config

    @cached_property
    def jobs(self) -> Any:
        """Pipeline jobs."""
        from google.cloud.aiplatform_v1 import PipelineServiceClient

        return self._client(PipelineServiceClient)

    @cached_property
    def schedules(self) -> Any:
        """Schedules."""
        from google.cloud.aiplatform_v1 import ScheduleServiceClient

        return self._client(ScheduleServiceClient)

    def call(
        self,
        what: str,
        method: Callable[[], Callable[..., Any]],
        /,
        *,
        already: Callable[[], Any] = lambda: None,
        **arguments: Any,
    ) -> Any:
        """Sends one request, with retries of transient failures.

        Args:
            what: Description that completes "cannot …".
            method: Returns a method of one of the services; creating the service needs credentials.
            already: Looks up, before a retry, the object that the request was to create.
            arguments: Arguments of the method.

        Raises:
            TargetError: it is refused, or all attempts failed; the message names the fix. `__cause__` has the `code`.
        """
        try:
            return send(
                lambda: method()(**arguments, retry=None, timeout=self.config.timeout_seconds), _is_transient, already
            )
        except (TargetError, ConfigError):
            raise
        except Exception as error:
            raise TargetError(f"cannot {what}{tried(error)}: {self._explain(error)}") from error

    def log_lines(self, job: str) -> Iterator[str]:
        """The log of one custom job, oldest line first."""
        url = f"{self.config.logging_endpoint or _LOGGING}/v2/entries:list"
        body = {
            "resourceNames": [f"projects/{self.config.project}"],
            "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job.rpartition("/")[2]}"',
            "orderBy": "timestamp asc",
            "pageSize": 1000,
        }
        while True:
            page = self.call("read the log", lambda: self._post, url=url, body=body)
            for entry in page.get("entries", []):
                yield str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "")).rstrip("\n")
            if not page.get("nextPageToken"):
                return
            body["pageToken"] = page["nextPageToken"]

    def _post(self, url: str, body: dict[str, Any], retry: None, timeout: float) -> Any:
        from google.api_core.exceptions import from_http_response

        with google_login.session(anonymous=url.startswith("http://")) as session:
            answer = session.post(url, json=body, timeout=timeout)
            if not answer.ok:
                raise from_http_response(answer)  # type: ignore[no-untyped-call]
            return answer.json()

    def _client(self, service: Any) -> Any:
        options = {"api_endpoint": self.config.url}
        # Only an emulator is reached over plain HTTP.
        credentials = google_login.credentials(anonymous=self.config.url.startswith("http://"))
        return service(credentials=credentials, transport="rest", client_options=options)

    def _explain(self, error: Exception) -> str:
        import requests
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError

        config = self.config
        if isinstance(error, GoogleAPICallError):
            said = " ".join(str(error.message).split())[:400]
            return f"{config.url} answers {error.code} ({said}): {self._fix(error.code)}"
        if isinstance(error, GoogleAuthError):
            missing = f"the Google credentials here are missing or expired ({type(error).__name__})"
            return f"{missing}: {google_login.HOW_TO_LOG_IN}"
        if isinstance(error, requests.Timeout):
            return (
                f"{config.url} does not answer within {config.timeout_seconds:g} s: is it reachable from here? "
                "vertex.timeout_seconds sets the time"
            )
        if isinstance(error, requests.RequestException):
            return (
                f"no connection to {config.url} ({type(error).__name__}): is vertex.location = {config.location!r} a "
                "region of Vertex AI, and vertex.endpoint right if it is set?"
            )
        return f"{config.url} answers what is no answer of Vertex AI ({error}): is vertex.endpoint right?"

    def _fix(self, status: int | None) -> str:
        config = self.config
        if status == 401:
            return f"the credentials are missing or expired: {google_login.HOW_TO_LOG_IN}"
        if status == 403:
            acting = f", roles/iam.serviceAccountUser on {config.service_account}" if config.service_account else ""
            return (
                f"the account needs roles/aiplatform.user in the project {config.project}{acting}, and "
                "roles/logging.viewer to read logs; the API must be on: gcloud services enable "
                f"aiplatform.googleapis.com --project {config.project}"
            )
        if status == 404:
            return f"is it in vertex.project = {config.project!r} and vertex.location = {config.location!r}?"
        if status == 409:
            return "another one of that name is in the way: try again, and the run gets another name"
        if status == 429:
            return f"the project's quota is used up: https://console.cloud.google.com/iam-admin/quotas?project={config.project}"
        if status in TRANSIENT_STATUSES:
            return "see https://status.cloud.google.com, then try again"
        return "compare vertex.* in settings/<environment>.yaml with what the answer names"


def code_of(error: TargetError) -> int | None:
    """HTTP status of an error; None without one."""
    return getattr(error.__cause__, "code", None)


def _is_transient(error: BaseException) -> bool:
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return False
    return getattr(error, "code", None) in TRANSIENT_STATUSES or isinstance(
        error, (requests.ConnectionError, requests.Timeout)
    )
