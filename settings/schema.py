"""All settings with types and defaults. They name secrets and never hold them.

`python -m tests.docs.settings_page` generates docs/settings.md from the `Attributes` of the docstrings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serving.rollout.policy import RolloutPolicy
from settings.cron import normalise_cron
from slipway.compute import Compute, DistributionConfig
from slipway.data.beam import BeamConfig
from slipway.references import SecretName, SecretReference, WebAddress
from slipway.runs.notifications.config import Notifications
from slipway.runs.tracking.config import Tracking
from slipway.targets import DEFAULT_PIPELINE, RemoteTarget


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Evaluation(_Strict):
    """Evaluation of a candidate.

    Attributes:
        engine: `vectorised` counts all rows in one process, in flat memory; `tfma` runs TFMA on Beam.
    """

    engine: Literal["vectorised", "tfma"] = "vectorised"


class Kubeflow(_Strict):
    """Kubeflow Pipelines. `slipway submit --target kubeflow` needs at least `endpoint`.

    Attributes:
        endpoint: Address of the API, without `/apis`: `https://kubeflow.example.com/pipeline`.
        ui: Address of the UI, for links, if it differs from the API's.
        namespace: Namespace of your profile on a multi-user installation; empty on a single-user one.
        experiment: Experiment of the runs, created if it is missing; `<module>-<environment>` if empty.
        service_account: Kubernetes account that the steps run as, such as `slipway-pipeline` of
            `manifests/pipeline-account`. Empty, it is the installation's own, which all its pipelines share.
        service_accounts: Accounts of single pipelines' steps, by the pipeline's name:
            `{monitoring: slipway-monitor-staging}`.
        s3_secret: Secret of Kubernetes, in the namespace of the runs, with the steps' login to s3://: its keys are
            AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and as needed AWS_SESSION_TOKEN, AWS_ENDPOINT_URL, AWS_REGION
            and AWS_CA_BUNDLE. Without it the steps have the role of their service account (IRSA).
        s3_secrets: Secrets of single pipelines' steps, by the pipeline's name: `{monitoring: slipway-s3-monitor}`.
        cluster_endpoint: Address of the API within the cluster, at which the monitor's last step starts the training.
        pipeline_root: Root of the steps' artifacts, on gs://, s3:// or, as Kubeflow calls its own store, minio://;
            `<remote_home>/artifacts` if empty.
        active_deadline_seconds: When a run that has not ended is ended; 0 for never. Kubeflow takes it from 2.17 on.
        ttl_seconds: How long the pods of an ended run are kept, with their logs; 0 for the installation's own time.
            Kubeflow takes it from 2.17 on.
        auth: Credential of a request: none, the pod's own token (inside the cluster), a bearer token, or the cookie
            of an OIDC login.
        credential_variable: Name of the variable that holds the token or the cookie.
        credential_file: File that holds it, read again before each request for a token.
        credential_secret: Secret of Google's Secret Manager that holds it, fetched by Google's default credentials:
            `projects/PROJECT/secrets/NAME/versions/latest`.
        ca_file: Certificates to trust, where the endpoint's is not a public one.
        timeout_seconds: Time-out of one request, for the connection and for the answer.
    """

    endpoint: WebAddress = ""
    ui: WebAddress = ""
    namespace: str = ""
    experiment: str = ""
    service_account: str = ""
    service_accounts: dict[str, str] = {}
    s3_secret: SecretName = ""
    s3_secrets: dict[str, SecretName] = {}
    cluster_endpoint: WebAddress = "http://ml-pipeline.kubeflow:8888"
    pipeline_root: str = ""
    active_deadline_seconds: int = Field(604_800, ge=0, le=2_147_483_647)
    ttl_seconds: int = Field(86_400, ge=0, le=2_147_483_647)
    auth: Literal["none", "service_account_token", "token", "cookie"] = "none"
    credential_variable: str = ""
    credential_file: str = ""
    credential_secret: SecretReference = ""
    ca_file: str = ""
    timeout_seconds: float = Field(60, gt=0)

    def account_of(self, pipeline: str) -> str:
        """The account that the steps of a pipeline run as."""
        return self.service_accounts.get(pipeline, self.service_account)

    def secret_of(self, pipeline: str) -> str:
        """The secret with the login to S3 of the steps of a pipeline."""
        return self.s3_secrets.get(pipeline, self.s3_secret)


class Vertex(_Strict):
    """Vertex AI Pipelines. `slipway submit --target vertex` needs at least `project` and `location`.

    Credentials are Google's application default ones.

    Attributes:
        project: Id of the Google Cloud project.
        location: Region: `europe-west4`.
        pipeline_root: Root of the steps' artifacts on gs://; `<remote_home>/artifacts` if empty.
        service_account: E-mail address of the account that the tasks run as; the project's default one if empty.
        service_accounts: Accounts of single pipelines' tasks, by the pipeline's name:
            `{monitoring: slipway-monitor@PROJECT.iam.gserviceaccount.com}`.
        network: VPC that the tasks reach by peering: `projects/NUMBER/global/networks/NAME`.
        network_attachment: Network attachment through which the tasks reach a VPC by an interface of Private Service
            Connect, in place of `network`: `projects/P/regions/R/networkAttachments/NAME`, in the same region.
        encryption_key: Key of Cloud KMS (CMEK): `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
        labels: Labels of all runs, in addition to Slipway's.
        endpoint: Address of the API, for private ones and emulators; one that begins with http:// gets no credentials.
        logging_endpoint: The same for Cloud Logging.
        timeout_seconds: Time-out of one request.
    """

    project: str = ""
    location: str = ""
    pipeline_root: str = ""
    service_account: str = ""
    service_accounts: dict[str, str] = {}
    network: str = ""
    network_attachment: str = ""
    encryption_key: str = ""
    labels: dict[str, str] = {}
    endpoint: WebAddress = ""
    logging_endpoint: WebAddress = ""
    timeout_seconds: float = Field(60, gt=0)


class Delivery(_Strict):
    """The image that `slipway plan` looks for and `slipway deploy` builds, and the target of its runs.

    Attributes:
        target: Target of the runs.
        image_repository: Repository of the image, without a tag: `REGION-docker.pkg.dev/PROJECT/slipway/slipway`.
        builder: Program that builds and pushes it.
        build_arguments: Build arguments. They change the image, so they are part of its tag. The image of tasks with
            an accelerator is built with `ACCELERATOR=gpu` besides.
        build_options: Further flags of the build that change nothing in the image, like `--cache-from=…`.
    """

    target: RemoteTarget = "kubeflow"
    image_repository: WebAddress = ""
    builder: Literal["docker", "podman"] = "docker"
    build_arguments: dict[str, str] = {}
    build_options: tuple[str, ...] = ()


class Schedule(_Strict):
    """A recurring run of a pipeline, which `slipway schedules apply` keeps on a target.

    Attributes:
        pipeline: Name of the pipeline.
        module: Folder under modules/.
        cron: The five fields of Unix cron, in UTC: `0 3 * * *`; or `@hourly`, `@daily`, `@weekly`, `@monthly`,
            `@yearly`.
        data: URI, as for `slipway submit --data`; with `{SPAN}` in it each run reads the newest. The module's own if
            not set.
        overrides: Keys and values, as `--set` takes them: `{training.epochs: 20}`.
        max_concurrency: Largest number of its runs under way at a time. The next one waits on Kubeflow, and is left
            out on Vertex.
        catch_up: Whether missed runs are started later, after the target was down or the schedule paused.
        enabled: Whether the schedule exists on the target.
    """

    pipeline: str = DEFAULT_PIPELINE
    module: str
    cron: Annotated[str, AfterValidator(normalise_cron)] = Field(examples=["0 3 * * *"])
    data: str | None = None
    overrides: dict[str, Any] = {}
    max_concurrency: int = Field(1, ge=1, le=10)
    catch_up: bool = False
    enabled: bool = True


class Serving(RolloutPolicy):
    """The cluster that serves pushed models, and the conditions under which a canary is promoted.

    The canary's share of the traffic is its share of all replicas.

    Attributes:
        overlay: Folder of manifests/overlays, which also names the cluster's namespace. Without one nothing is rolled
            out.
        cluster: `projects/P/locations/L/clusters/C` of GKE (which steps on Vertex need), or a context of your
            kubeconfig. If empty, steps use the cluster that they run in, and commands the current context.
        address: REST of the servers, as the console reaches them, for its room Predict; `{model}` stands for the
            model: `http://{model}-serving.staging:8501`. If empty, the console serves the models itself.
    """

    overlay: str = ""
    cluster: str = ""
    address: WebAddress = ""

    @property
    def policy(self) -> dict[str, Any]:
        """The fields of `RolloutPolicy` alone, as a pipeline's parameter."""
        return self.model_dump(include=set(RolloutPolicy.model_fields))


class Settings(_Strict):
    """All settings: what is decided outside a module.

    Attributes:
        home: Folder for all state of local runs, relative to the project.
        remote_home: URI of the shared state, gs:// or s3://: modules, models, runs, checkpoints, deployments.
        modules: Folder of the modules, relative to the project.
        image: Image of all tasks on a cluster, by digest: `REPOSITORY@sha256:…`. `slipway deploy` finds it itself.
        gpu_image: Image of the tasks with an accelerator, which has NVIDIA's libraries too. `slipway deploy` finds it
            itself.
        request_log: Log of served requests, a folder, here or in a bucket, as `slipway serve --request-log` writes it,
            or a table of BigQuery over it, bq://PROJECT.DATASET.TABLE; what `slipway monitor` reads.
        compute: Resources by task; `default` is for tasks that are not named.
        schedules: Recurring runs, by name.
    """

    home: Path = Path(".slipway")
    remote_home: str = ""
    modules: Path = Path("modules")
    image: str = ""
    gpu_image: str = ""
    request_log: str = ""
    beam: BeamConfig = BeamConfig()
    distribution: DistributionConfig = DistributionConfig()
    evaluation: Evaluation = Evaluation()
    compute: dict[str, Compute] = {}
    kubeflow: Kubeflow = Kubeflow()
    vertex: Vertex = Vertex()
    delivery: Delivery = Delivery()
    serving: Serving = Serving()
    notifications: Notifications = Notifications()
    tracking: Tracking = Tracking()
    schedules: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], Schedule] = {}
