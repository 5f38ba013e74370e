"""Connection to Vertex AI by the generated clients of google-cloud-aiplatform, over REST.

`aiplatform.PipelineJob`, which wraps them, keeps a global configuration, asks the metadata server where it runs, and
creates a missing bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.auth.exceptions import GoogleAuthError
from google.cloud.aiplatform_v1 import PipelineServiceClient, ScheduleServiceClient

from delivery.targets.connection import VertexConfig
from slipway.errors import TargetError
from slipway.platforms.connection import Connection
from slipway.remote import google_login
from slipway.remote.retries import TRANSIENT_STATUSES

_LOGGING = "https://logging.googleapis.com"


class VertexApi(Connection):
    """The services of the API, each called through `call`."""

    setting = "vertex"
    timeouts = (requests.Timeout, requests.ConnectTimeout, requests.ReadTimeout)
    lost = (requests.ConnectionError, requests.Timeout)

    def __init__(self, config: VertexConfig) -> None:
        super().__init__(config.url, config.timeout_seconds)
        self.config = config

    @cached_property
    def jobs(self) -> Any:
        """Pipeline jobs."""
        return self._client(PipelineServiceClient)

    @cached_property
    def schedules(self) -> Any:
        """Schedules."""
        return self._client(ScheduleServiceClient)

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
            page = self.call("read the log", self._post, url=url, body=body)
            for entry in page.get("entries", []):
                yield str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "")).rstrip("\n")
            if not page.get("nextPageToken"):
                return
            body["pageToken"] = page["nextPageToken"]

    def _post(self, url: str, body: dict[str, Any], retry: None, timeout: float) -> Any:
        with google_login.session(anonymous=url.startswith("http://")) as session:
            answer = session.post(url, json=body, timeout=timeout)
            if not answer.ok:
                raise from_http_response(answer)  # type: ignore[no-untyped-call]
            return answer.json()

    def _client(self, service: Any) -> Any:
        try:
            # Only an emulator is reached over plain HTTP.
            credentials = google_login.credentials(anonymous=self.url.startswith("http://"))
        except GoogleAuthError as error:
            raise TargetError(self._explain(error)) from error
        return service(credentials=credentials, transport="rest", client_options={"api_endpoint": self.url})

    def _send(self, request: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        return request(**arguments, retry=None, timeout=self.timeout_seconds)

    def _is_transient(self, error: BaseException) -> bool:
        return super()._is_transient(error) and not isinstance(error, requests.exceptions.SSLError)

    def _status(self, error: BaseException) -> int | None:
        return error.code if isinstance(error, GoogleAPICallError) else None

    def _said(self, error: Any) -> str:
        return f" ({' '.join(str(error.message).split())[:400]})"

    def _fix(self, status: int) -> str:
        config = self.config
        acting = f", roles/iam.serviceAccountUser on {config.service_account}" if config.service_account else ""
        quotas = f"https://console.cloud.google.com/iam-admin/quotas?project={config.project}"
        fixes = dict.fromkeys(TRANSIENT_STATUSES, "see https://status.cloud.google.com, then try again") | {
            401: f"the credentials are missing or expired: {google_login.HOW_TO_LOG_IN}",
            403: f"the account needs roles/aiplatform.user in the project {config.project}{acting}, and "
            "roles/logging.viewer to read logs; the API must be on: gcloud services enable aiplatform.googleapis.com "
            f"--project {config.project}",
            404: f"is it in vertex.project = {config.project!r} and vertex.location = {config.location!r}?",
            409: "another one of that name is in the way: try again, and the run gets another name",
            429: f"the project's quota is used up: {quotas}",
        }
        return fixes.get(status, "compare vertex.* in settings/<environment>.yaml with what the answer names")

    def _explain_connection(self, error: Exception) -> str:
        if isinstance(error, GoogleAuthError):
            missing = f"the Google credentials here are missing or expired ({type(error).__name__})"
            return f"{missing}: {google_login.HOW_TO_LOG_IN}"
        if isinstance(error, requests.RequestException):
            return (
                f"no connection to {self.url} ({type(error).__name__}): is vertex.location = "
                f"{self.config.location!r} a region of Vertex AI, and vertex.endpoint right if it is set?"
            )
        return f"{self.url} does not answer as Vertex AI does ({error}): is vertex.endpoint right?"
