"""What the steps of a run on a cluster can read and write; what they cannot is refused before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from delivery.environment import Environment
from slipway.data.examples.source import SNAPSHOT, parts_of
from slipway.errors import ConfigError
from slipway.module_api import ModuleConfig
from slipway.remote.address import in_bucket, parse
from slipway.targets import RemoteTarget


@dataclass(frozen=True)
class Reach:
    """The reach of a pipeline's steps on a target. Each method raises a ConfigError that names what lies out of it."""

    environment: Environment
    target: RemoteTarget
    pipeline: str

    def require(
        self,
        uri: str,
        what: str = "data",
        fix: str = "give --data gs://BUCKET/PATH or bq://PROJECT.DATASET.TABLE; on Kubeflow s3://BUCKET/PATH, too",
    ) -> str:
        """A URI of data, or several with commas between, that `what` names."""
        for part in parts_of(uri):
            self._require_login(part, what, fix)
            if not part.startswith(("gs://", "s3://", "bq://", SNAPSHOT)):
                raise ConfigError(
                    f"{what} = {part}: a run on a cluster cannot read this machine's files; copy it to a bucket and "
                    f"{fix}"
                )
        return uri

    def require_others(self, config: ModuleConfig) -> None:
        """What the steps read and write beside the data."""
        others: dict[str, dict[str, str | None]] = {
            "batch_prediction": {"batch_prediction.to": config.batch_prediction.to},
            "monitoring": {
                "request_log": self.environment.settings.request_log,
                "monitoring.labels": config.monitoring.labels,
            },
        }
        for what, place in others.get(self.pipeline, {}).items():
            for part in parts_of(place) if place else ():
                self._require_login(part, what, "give gs://BUCKET/PATH")

    def _require_login(self, uri: str, what: str, fix: str) -> None:
        if in_bucket(uri):
            parse(uri)  # refuses a secret in it, before a message or a parameter has it
        if uri.startswith("minio://"):
            raise ConfigError(
                f"{what} = {uri}: that is Kubeflow's name for S3 in URIs of artifacts; write s3:// for it"
            )
        if not uri.startswith("s3://"):
            return
        if self.target == "vertex":
            raise ConfigError(f"{what} = {uri}: Vertex's steps have Google's login alone, and none to S3; {fix}")
        kubeflow = self.environment.settings.kubeflow
        if not (kubeflow.secret_of(self.pipeline) or kubeflow.account_of(self.pipeline)):
            raise ConfigError(
                f"{what} = {uri}: the steps have no login to S3: set kubeflow.s3_secret to the name of a secret with "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or kubeflow.service_account to an account that has a "
                "role (IRSA); docs/kubeflow.md makes both"
            )
