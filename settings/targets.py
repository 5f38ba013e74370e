"""Settings of the targets that runs are submitted to. `delivery/targets` connects with them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from slipway.runs.notifications.config import SECRET_ERROR


def _without_credentials(url: str) -> str:
    if "@" in url.rpartition("://")[2].partition("/")[0]:
        raise PydanticCustomError(
            SECRET_ERROR, "this address holds a user or a password, which logs would show; leave them out"
        )
    return url


WebAddress = Annotated[str, AfterValidator(_without_credentials)]


class Kubeflow(BaseModel):
    """Kubeflow Pipelines. `slipway submit --target kubeflow` needs at least `endpoint`.

    Attributes:
        endpoint: Address of the API, without `/apis`: `https://kubeflow.example.com/pipeline`.
        ui: Address of the UI, for links, if it differs from the API's.
        namespace: Namespace of your profile on a multi-user installation; empty on a single-user one.
        experiment: Experiment of the runs; created if it is missing.
        service_account: Kubernetes account that the steps run as; the installation's own if empty.
        pipeline_root: Root of the steps' artifacts; `<remote_home>/artifacts` if empty.
        auth: Credential of a request: none, the pod's own token (inside the cluster), a bearer token, or the cookie
            of an OIDC login.
        credential_variable: Name of the variable that holds the token or the cookie.
        credential_file: File that holds it, read anew before each request for a token.
        ca_file: Certificates to trust, where the endpoint's is not a public one.
        timeout_seconds: Time-out of one request, to connect and to be answered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: WebAddress = ""
    ui: WebAddress = ""
    namespace: str = ""
    experiment: str = "slipway"
    service_account: str = ""
    pipeline_root: str = ""
    auth: Literal["none", "service_account_token", "token", "cookie"] = "none"
    credential_variable: str = ""
    credential_file: str = ""
    ca_file: str = ""
    timeout_seconds: float = Field(60, gt=0)


class Vertex(BaseModel):
    """Vertex AI Pipelines. `slipway submit --target vertex` needs at least `project` and `location`.

    Credentials are Google's application default ones.

    Attributes:
        project: Id of the Google Cloud project.
        location: Region: `europe-west4`.
        pipeline_root: Root of the steps' artifacts on gs://; `<remote_home>/artifacts` if empty.
        service_account: E-mail address of the account that the tasks run as; the project's default one if empty.
        network: VPC of the tasks: `projects/NUMBER/global/networks/NAME`.
        encryption_key: Key of Cloud KMS (CMEK): `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
        labels: Labels of all runs, in addition to Slipway's.
        endpoint: Address of the API, for private ones and emulators; one that begins with http:// gets no credentials.
        logging_endpoint: The same for Cloud Logging.
        timeout_seconds: Time-out of one request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = ""
    location: str = ""
    pipeline_root: str = ""
    service_account: str = ""
    network: str = ""
    encryption_key: str = ""
    labels: dict[str, str] = {}
    endpoint: WebAddress = ""
    logging_endpoint: WebAddress = ""
    timeout_seconds: float = Field(60, gt=0)
