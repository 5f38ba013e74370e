"""The settings of a platform, complete enough to connect. No client is imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import model_validator

from settings.schema import Kubeflow, Vertex
from slipway.errors import ConfigError

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
        places = (self.credential_variable, self.credential_file, self.credential_secret)
        if self.auth in ("token", "cookie") and not any(places):
            raise ConfigError(
                f"kubeflow.auth = {self.auth!r} needs kubeflow.credential_variable, credential_file or "
                f"credential_secret: the name of the variable, the file or the secret that holds the {self.auth}"
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

    def account_of(self, pipeline: str) -> str:
        """The account that the steps of a pipeline run as."""
        return self.service_accounts.get(pipeline, self.service_account)

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
