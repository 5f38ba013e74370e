"""Starts a run on Vertex AI Pipelines from within a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from google.auth.exceptions import GoogleAuthError

from slipway.platforms.starter import Started, Starter
from slipway.remote import google_login
from slipway.remote.retries import TRANSIENT_STATUSES
from slipway.runs.naming import vertex_id


class VertexStarter(Starter):
    """API v1. The id of a job comes from the run's name, so a second one of that name is refused."""

    setting = "vertex"
    address = "vertex.endpoint, or vertex.location,"

    def find(self, name: str) -> Started | None:
        path = f"{self.prepared.path}/{vertex_id(name)}"
        job = self.call(f"look up the run {name}", self._request, method="GET", path=path, missing_ok=True)
        return self._started(vertex_id(name)) if job else None

    def start(self, name: str, fields: Mapping[str, Any]) -> Started:
        config = self.prepared.body["runtimeConfig"]
        values = config.get("parameterValues", {}) | fields
        body = self.prepared.body | {"displayName": name, "runtimeConfig": config | {"parameterValues": values}}
        self.call(
            f"start the run {name}",
            self._request,
            method="POST",
            path=self.prepared.path,
            params={"pipelineJobId": vertex_id(name)},
            json=body,
            already=lambda: self.find(name),
        )
        return self._started(vertex_id(name))

    def _session(self) -> requests.Session:
        session: requests.Session = google_login.session(anonymous=self.url.startswith("http://"))
        return session

    def _fix(self, status: int) -> str:
        account = self.prepared.account or "the account of the steps"
        runs_as = self.prepared.body.get("serviceAccount")
        acting = f", and roles/iam.serviceAccountUser on {runs_as}" if runs_as else ""
        fixes = {
            401: f"{account} has no valid credentials: {google_login.HOW_TO_LOG_IN}",
            403: f"{account} needs roles/aiplatform.user in the project{acting}: infrastructure/accounts.tf gives both "
            "to slipway-monitor; vertex.service_accounts names it",
            429: "the project's quota is used up",
        } | dict.fromkeys(TRANSIENT_STATUSES - {429}, "see https://status.cloud.google.com")
        return fixes.get(status, "the training does not suit the project: submit the monitor again")

    def _explain_connection(self, error: Exception) -> str:
        if isinstance(error, GoogleAuthError):
            return f"no valid Google credentials ({type(error).__name__}): {google_login.HOW_TO_LOG_IN}"
        return super()._explain_connection(error)
