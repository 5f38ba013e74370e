"""Starts a run on Kubeflow Pipelines from within one of its pods."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from slipway.platforms.starter import Started, Starter
from slipway.remote.retries import TRANSIENT_STATUSES

# Where kfp looks for the token of a pod: sdk/python/kfp/client/set_volume_credentials.py and client.py.
TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - a name
TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path


class KubeflowStarter(Starter):
    """API v2beta1. Runs may share a name, so whoever starts one has to be the only one who does."""

    setting = "kubeflow"
    address = "kubeflow.cluster_endpoint"

    def find(self, name: str) -> Started | None:
        # backend/api/v2beta1/filter.proto
        wanted = {"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]}
        query = {
            "experiment_id": self.prepared.body["experiment_id"],
            "filter": json.dumps(wanted),
            "sort_by": "created_at asc",
        }
        what = f"look up the run {name}"
        found = self.call(what, self._request, method="GET", path=self.prepared.path, params=query)
        runs = found.get("runs") or []
        return self._started(runs[0]["run_id"]) if runs else None

    def start(self, name: str, fields: Mapping[str, Any]) -> Started:
        config = self.prepared.body.get("runtime_config", {})
        parameters = config.get("parameters", {}) | fields
        body = self.prepared.body | {"display_name": name, "runtime_config": config | {"parameters": parameters}}
        answer = self.call(
            f"start the run {name}",
            self._request,
            method="POST",
            path=self.prepared.path,
            json=body,
            already=lambda: self.find(name),
        )
        return answer if isinstance(answer, Started) else self._started(answer["run_id"])

    def _session(self) -> requests.Session:
        session = requests.Session()
        token = Path(os.environ.get(TOKEN_VARIABLE) or TOKEN)
        if token.is_file():  # an installation for a single user asks for none
            session.headers["Authorization"] = f"Bearer {token.read_text(encoding='utf-8').strip()}"
        return session

    def _fix(self, status: int) -> str:
        account = self.prepared.account or "the account of the steps"
        fixes = {
            401: f"{account} has no token of Kubeflow's, or a wrong one: the component `profiles` of "
            "manifests/monitor-account projects one into the step's pod",
            403: f"{account} may not create and list runs (`runs` of pipelines.kubeflow.org) in their namespace: "
            "manifests/monitor-account binds slipway-monitor-<environment> to a role that may; "
            "kubeflow.service_accounts names it",
            404: "the training's experiment or pipeline was deleted: submit the monitor again, or apply its schedule",
        } | dict.fromkeys(TRANSIENT_STATUSES, "look at the logs of the deployment ml-pipeline")
        return fixes.get(status, "the training does not suit this installation: submit the monitor again")
