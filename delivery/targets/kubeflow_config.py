"""Settings of a connection to Kubeflow Pipelines, checked before the first request."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from settings.schema import Kubeflow
from slipway.errors import ConfigError

# Where a pod finds the token that Kubeflow's PodDefault `access-ml-pipeline` projects into it.
SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path


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

    @property
    def ui_url(self) -> str:
        """URL of the UI, without a slash at its end."""
        return (self.ui or self.endpoint).rstrip("/")
