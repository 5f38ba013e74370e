"""What a step needs of a platform's API: to look a run up by its name, and to start it.

`delivery/targets/` does all else, from outside, with the platforms' own clients. The image has no client of Vertex.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import requests
from pydantic import BaseModel

from slipway.platforms.connection import Connection
from slipway.runs.naming import JOB
from slipway.targets import RemoteTarget

TIMEOUT_SECONDS = 30.0


class PreparedRun(BaseModel):
    """The request for a run, without its name and its data, which a step adds; no secrets are in it.

    `url` is the API's address as steps reach it, `path` that of its runs, `page` the UI's address of a run, with
    `slipway.runs.naming.JOB` in place of its id. `account` is the one that asks, for messages.
    """

    target: RemoteTarget
    url: str
    path: str
    page: str
    account: str = ""
    body: dict[str, Any]


class Started(NamedTuple):
    """A run, and its page in the UI."""

    id: str
    page: str


class Starter(Connection):
    """Looks a run up, and starts it, with the rights of the pod that it runs in; `address` is the setting of the URL.

    Both raise `TargetError` if the platform refuses or does not respond.
    """

    address: str
    timeouts = ()
    lost = (requests.ConnectionError, requests.Timeout)

    def __init__(self, prepared: PreparedRun) -> None:
        super().__init__(prepared.url.rstrip("/"), TIMEOUT_SECONDS)
        self.prepared = prepared

    @abstractmethod
    def find(self, name: str) -> Started | None:
        """The run of a name, the oldest if there are several."""

    @abstractmethod
    def start(self, name: str, fields: Mapping[str, Any]) -> Started:
        """Starts the run under a name, with the values of some fields of its form."""

    @abstractmethod
    def _session(self) -> requests.Session: ...  # with the pod's credentials

    def _started(self, run: str) -> Started:
        return Started(run, self.prepared.page.replace(JOB, run))

    def _request(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        with self._session() as session:
            answer = session.request(method, self.url + path, allow_redirects=False, **content)
            if not answer.ok or answer.is_redirect:
                raise requests.HTTPError(response=answer)
            found: dict[str, Any] = answer.json()
            return found

    def _send(self, request: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        return request(**arguments, timeout=self.timeout_seconds)

    def _is_transient(self, error: BaseException) -> bool:
        return super()._is_transient(error) and not isinstance(error, requests.exceptions.SSLError)

    def _status(self, error: BaseException) -> int | None:
        return error.response.status_code if isinstance(error, requests.HTTPError) else None

    def _said(self, error: Any) -> str:
        try:
            body = error.response.json()
            problem = body.get("error")
            text = problem.get("message") if isinstance(problem, dict) else body.get("message") or problem
        except (ValueError, AttributeError):
            return ""
        return f" ({' '.join(str(text).split())[:300]})" if text else ""

    def _explain_connection(self, error: Exception) -> str:
        what = f"within {self.timeout_seconds:g} s" if isinstance(error, requests.Timeout) else "as an API does"
        return f"{self.url} does not answer {what} ({type(error).__name__}): is {self.address} right for the steps?"
