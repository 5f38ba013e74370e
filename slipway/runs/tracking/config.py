"""The settings of experiment tracking."""

from pydantic import BaseModel, ConfigDict, Field

from slipway.references import SecretReference, WebAddress


class Tracking(BaseModel):
    """The MLflow server that runs and versions are written to.

    Attributes:
        uri: Address of the server, as `https://mlflow.example.com`; empty for none.
        username: Login of basic authentication, whose password is the token; empty for a bearer token.
        token: Bearer token or password, as a reference to a secret; empty if the server asks for none.
        experiment_prefix: Beginning of the names of experiments and registered models,
            `<prefix><module>-<environment>`.
        ca_file: Certificates of a private authority to trust.
        timeout_seconds: Limit for all that is written at the end of one run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: WebAddress = Field("", pattern=r"^$|^https?://[^\s?#]+$")
    username: str = ""
    token: SecretReference = ""
    experiment_prefix: str = Field("", pattern=r"^[A-Za-z0-9_.-]*$", max_length=100)
    ca_file: str = ""
    timeout_seconds: float = Field(20, gt=0, le=300)


class Tracked(Tracking):
    """Tracking of the runs of one place: an environment's cluster, or this machine.

    Attributes:
        environment: Its name, `local` for runs on this machine.
        store: URI of the model store that the registry mirrors; empty if it is on this machine.
    """

    environment: str
    store: str = ""

    def name_of(self, module: str) -> str:
        """Name of a module's experiment, and of its registered model; like that of an experiment on Kubeflow."""
        return f"{self.experiment_prefix}{module}-{self.environment}"
