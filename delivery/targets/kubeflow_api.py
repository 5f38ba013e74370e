"""Connection to Kubeflow Pipelines: address, credential, bounded retries, and errors that name the fix.

It uses kfp_server_api, the client of the REST API `/apis/v2beta1` that `kfp.Client` wraps. The wrapper reads and writes
`~/.config/kfp/context.json`, prints links, and supports neither time-outs nor labels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from delivery.targets.base import send
from delivery.targets.kubeflow_config import SERVICE_ACCOUNT_TOKEN, KubeflowConfig
from slipway.errors import ConfigError, TargetError
from slipway.remote.retries import TRANSIENT_STATUSES, tried

_REDIRECTS = range(300, 400)


class KubeflowApi:
    """The services of the API, each called through `call`."""

    def __init__(self, config: KubeflowConfig) -> None:
        import kfp_server_api as api

        configuration = api.Configuration(host=config.url)
        configuration.retries = (
            False  # disables urllib3's retries: `call` retries, and a redirect leads to a login page
        )
        configuration.ssl_ca_cert = config.ca_file or None
        if config.auth in ("token", "service_account_token"):
            configuration.api_key["authorization"] = "read before each request"
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = self._refresh  # a projected token lives an hour
        self.config = config
        cookie = self._credential() if config.auth == "cookie" else None
        self._client = api.ApiClient(configuration, cookie=cookie)
        self.experiments = api.ExperimentServiceApi(self._client)
        self.pipelines = api.PipelineServiceApi(self._client)
        self.uploads = api.PipelineUploadServiceApi(self._client)
        self.runs = api.RunServiceApi(self._client)
        self.recurring_runs = api.RecurringRunServiceApi(self._client)
        self._health = api.HealthzServiceApi(self._client)

    @cached_property
    def namespace(self) -> str | None:
        """The namespace to name in requests: a single-user installation refuses any.

        Raises:
            ConfigError: the installation has many users, and the settings name no namespace.
        """
        if not self.call("look it up", self._health.healthz_service_get_healthz).multi_user:
            return None
        if not self.config.namespace:
            raise ConfigError(
                f"{self.config.url} serves many users: set kubeflow.namespace to your profile's namespace"
            )
        return self.config.namespace

    def call(
        self, what: str, request: Callable[..., Any], *, already: Callable[[], Any] = lambda: None, **arguments: Any
    ) -> Any:
        """Sends one request, with retries of transient failures.

        Args:
            what: Description that completes "cannot …".
            request: A method of one of the services.
            already: Looks up, before a retry, the object that the request was to create: the server may have created it
                although the response was lost.
            arguments: Arguments of the method.

        Raises:
            TargetError: it is refused, or all attempts failed; the message names the fix. `__cause__` has the status.
        """

        def once() -> Any:
            seconds = self.config.timeout_seconds
            answer = request(**arguments, _request_timeout=(seconds, seconds))  # to connect, to read
            self._refuse_login_page()
            return answer

        try:
            return send(once, _is_transient, already)
        except (TargetError, ConfigError):
            raise
        except Exception as error:
            raise TargetError(f"cannot {what}{tried(error)}: {self._explain(error)}") from error

    def pod_log(self, run_id: str, pod: str) -> str | None:
        """The log of one pod of a run; None if the pod does not exist.

        The route is outside the generated services, and streams text: backend/src/apiserver/server/run_log_server.go.
        """
        seconds = self.config.timeout_seconds
        try:
            answer = self._client.call_api(
                f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log",
                "GET",
                auth_settings=["Bearer"],
                _preload_content=False,
                _request_timeout=(seconds, seconds),
            )
        except Exception as error:
            if _status(error) in (400, 404, 500):  # statuses of server versions for a missing pod
                return None
            raise TargetError(f"cannot read the log of {pod}: {self._explain(error)}") from error
        content: bytes = answer.data
        return content.decode("utf-8", "replace")

    def _refuse_login_page(self) -> None:
        answer = self._client.last_response
        data = getattr(answer, "data", "")
        text = data[:200] if isinstance(data, str) else ""
        if text.lstrip().lower().startswith(("<!doctype html", "<html")):
            raise TargetError(f"{self.config.url} answers with a page instead of data: {_LOGIN}")

    def _refresh(self, configuration: Any) -> None:
        configuration.api_key["authorization"] = self._credential()

    def _credential(self) -> str:
        config = self.config
        if config.credential_variable:
            secret = os.environ.get(config.credential_variable, "")
            source = f"the variable {config.credential_variable} (kubeflow.credential_variable)"
        else:
            path = Path(config.credential_file or SERVICE_ACCOUNT_TOKEN)
            source = f"{path} (kubeflow.credential_file)"
            try:
                secret = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                secret = ""
        if not secret or not secret.isprintable():
            raise ConfigError(f"{source} holds no {config.auth.replace('_', ' ')}; kubeflow.auth = {config.auth!r}")
        return secret

    def _explain(self, error: Exception) -> str:
        """Reason of a failure, and the fix; without the request, which may contain a secret."""
        import urllib3

        config = self.config
        status = _status(error)
        if status:
            return f"{config.url} answers {status}{_message(error)}: {self._fix(status)}"
        if isinstance(error, urllib3.exceptions.TimeoutError) and not _is_refused(error):
            return (
                f"{config.url} does not answer within {config.timeout_seconds:g} s: is kubeflow.endpoint right, and "
                "reachable from here? kubeflow.timeout_seconds sets the time"
            )
        if status == 0:
            return f"{config.url} has no certificate that is trusted here: set kubeflow.ca_file to its authority's"
        if isinstance(error, urllib3.exceptions.HTTPError):
            return (
                f"no connection to {config.url} ({type(error).__name__}): is kubeflow.endpoint right? From outside the "
                "cluster: kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888"
            )
        return f"{config.url} answers what is no answer of Kubeflow Pipelines ({error}): is kubeflow.endpoint right?"

    def _fix(self, status: int) -> str:
        if status in _REDIRECTS:
            return _LOGIN
        if status == 401:
            return "the credential is missing, wrong or expired: " + _LOGIN
        if status == 403:
            place = f"the namespace {self.config.namespace}" if self.config.namespace else "its namespace"
            return (
                f"the account may not do this in {place}: bind it to the cluster role kubeflow-pipelines-edit there, "
                "or name your own profile in kubeflow.namespace"
            )
        if status == 404:
            return f"is kubeflow.endpoint right? {self.config.url}/apis/v2beta1/healthz must answer with JSON"
        if status == 409:
            return "another one of that name is in the way, archived perhaps: delete it in Kubeflow's UI, and try again"
        if status in TRANSIENT_STATUSES:
            return "look at the logs of the deployment ml-pipeline, then try again"
        return "the request does not suit this installation; Slipway speaks the API v2beta1 of Kubeflow Pipelines 2"


_LOGIN = (
    "kubeflow.auth says how to log in (token, cookie, service_account_token), kubeflow.credential_variable or "
    "kubeflow.credential_file where the secret is"
)


def status_of(error: TargetError) -> int | None:
    """HTTP status of an error; None without one."""
    return _status(error.__cause__)


def _status(error: BaseException | None) -> int | None:
    """HTTP status; 0 for an untrusted certificate, whose error kfp_server_api fails to construct."""
    found = error.__context__ if isinstance(error, AttributeError) else error
    return getattr(found, "status", None)


def _is_refused(error: Exception) -> bool:
    from urllib3.exceptions import NewConnectionError

    return isinstance(error, NewConnectionError)


def _is_transient(error: BaseException) -> bool:
    import urllib3

    return _status(error) in TRANSIENT_STATUSES or isinstance(error, urllib3.exceptions.HTTPError)


def _message(error: Any) -> str:
    """The server's message, from either of its two formats."""
    try:
        body = json.loads(error.body)
        text = body.get("message") or body.get("error_message") or body.get("error") or ""
    except (TypeError, ValueError, AttributeError):
        return ""
    return f" ({' '.join(str(text).split())[:300]})" if text else ""
