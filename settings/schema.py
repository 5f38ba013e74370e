"""All settings, with their types and defaults. No secrets: what is secret is named here and fetched elsewhere.

docs/settings.md is made of what stands under `Attributes`: `python -m tests.docs.settings_page` writes it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from settings.cron import normalise_cron
from slipway.compute import Compute
from slipway.lineage import DEFAULT_PIPELINE
from slipway.runs.notifications.config import SECRET_ERROR, Notifications


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_credentials(url: str) -> str:
    if "@" in url.rpartition("://")[2].partition("/")[0]:
        raise PydanticCustomError(
            SECRET_ERROR, "this address holds a user or a password, which logs would show; leave them out"
        )
    return url


WebAddress = Annotated[str, AfterValidator(_without_credentials)]


class Beam(_Strict):
    """Apache Beam, which TensorFlow Transform and the `tfma` engine run on.

    Attributes:
        options: Beam's pipeline options, as on its command line: `--runner=DataflowRunner`, `--region=…`.
    """

    options: tuple[str, ...] = ("--runner=FnApiRunner",)


class Distribution(_Strict):
    """How training is spread.

    Attributes:
        strategy: That of `tf.distribute`: one device, all GPUs of one machine, or several machines by `TF_CONFIG`.
    """

    strategy: Literal["one_device", "mirrored", "multi_worker"] = "one_device"


class Evaluation(_Strict):
    """How a candidate is evaluated.

    Attributes:
        engine: `vectorised` holds predictions of the eval split in memory; `tfma` runs TFMA on Beam.
    """

    engine: Literal["vectorised", "tfma"] = "vectorised"


class Kubeflow(_Strict):
    """Kubeflow Pipelines. `slipway submit --target kubeflow` needs at least `endpoint`.

    Attributes:
        endpoint: Address of the API, without `/apis`: `https://kubeflow.example.com/pipeline`.
        ui: Address of the UI, for links, if it is another one.
        namespace: Your profile's, on an installation with many users; a single-user one takes none.
        experiment: The experiment that holds the runs; made if it is not there.
        service_account: Kubernetes account that the steps run as; the installation's own if empty.
        pipeline_root: Where the steps' artifacts go; `<remote_home>/artifacts` if empty.
        auth: What a request carries: nothing, the pod's own token (inside the cluster), a bearer token, or the cookie
            of an OIDC login.
        credential_variable: Name of the variable that holds token or cookie, both of which are secrets.
        credential_file: File that holds it, read anew before each request for a token.
        ca_file: Certificates to trust, where the endpoint's is not a public one.
        timeout_seconds: For one request to connect, and to be answered.
    """

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


class Vertex(_Strict):
    """Vertex AI Pipelines. `slipway submit --target vertex` needs at least `project` and `location`.

    Credentials are Google's application default ones.

    Attributes:
        project: Id of the Google Cloud project.
        location: Region: `europe-west4`.
        pipeline_root: Where the steps' artifacts go, on gs://; `<remote_home>/artifacts` if empty.
        service_account: E-mail address of the account that the tasks run as; the project's default one if empty.
        network: VPC that the tasks are in: `projects/NUMBER/global/networks/NAME`.
        encryption_key: Key of Cloud KMS (CMEK): `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
        labels: Labels of all runs, beside Slipway's own.
        endpoint: Address of the API, for private ones and emulators; one that begins with http:// gets no credentials.
        logging_endpoint: The same for Cloud Logging.
        timeout_seconds: For one request to be answered.
    """

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


class Delivery(_Strict):
    """What `slipway plan` looks up and `slipway deploy` does.

    Attributes:
        target: Where it submits.
        image_repository: Where the image lives, without a tag: `REGION-docker.pkg.dev/PROJECT/slipway/slipway`.
        builder: The program that builds and pushes it.
        build_arguments: Build arguments. They decide what is in the image, so they are part of its tag:
            `{ACCELERATOR: gpu}`.
        build_options: Further flags of the build that change nothing in the image, like `--cache-from=…`.
    """

    target: Literal["kubeflow", "vertex"] = "kubeflow"
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
        max_concurrency: How many of its runs may be under way at a time.
        catch_up: Whether the target also runs what it missed while it was down or the schedule was paused.
        enabled: Whether it is to be on the target at all.
    """

    pipeline: str = DEFAULT_PIPELINE
    module: str
    cron: Annotated[str, AfterValidator(normalise_cron)] = Field(examples=["0 3 * * *"])
    data: str | None = None
    overrides: dict[str, Any] = {}
    max_concurrency: int = Field(1, ge=1, le=10)
    catch_up: bool = False
    enabled: bool = True


class Serving(_Strict):
    """Where pushed models are served, and what a version's canary must show before it is promoted.

    The canary's share of the traffic is its share of all replicas.

    Attributes:
        overlay: Folder of manifests/overlays, which also names the cluster's namespace. Without one nothing is rolled
            out.
        cluster: `projects/P/locations/L/clusters/C` of GKE (which steps on Vertex need), or a context of your
            kubeconfig. If empty, steps take the cluster that they run in, and you the current context.
        models_path: The model store as serving pods see it: gs://…, or where a volume is mounted. The store's own
            address if empty.
        canary_replicas: Pods of the canary.
        ready_seconds: How long pods may take to become ready, the download of the model included.
        window_seconds: Over which canary and stable are compared, at least.
        traffic_seconds: How long to wait for `min_requests`; then the rollout is inconclusive.
        min_requests: That both must have answered; of fewer, a p99 is noise.
        max_error_increase: How much higher the canary's share of errors may be than stable's.
        max_p99_ratio: How many times stable's 99th percentile of latency the canary's may be.
        golden_tolerance: How far an answer to a golden request may be off, relative above 1.
        on_inconclusive: Whether the canary stays for a person's decision, or goes.
    """

    overlay: str = ""
    cluster: str = ""
    models_path: str = ""
    canary_replicas: int = Field(1, ge=1)
    ready_seconds: int = Field(900, ge=1)
    window_seconds: int = Field(300, ge=0)
    traffic_seconds: int = Field(1800, ge=0)
    min_requests: int = Field(1000, ge=1)
    max_error_increase: float = Field(0.01, ge=0, le=1)
    max_p99_ratio: float = Field(2.0, gt=0)
    golden_tolerance: float = Field(1e-5, ge=0)
    on_inconclusive: Literal["hold", "rollback"] = "hold"


class Settings(_Strict):
    """Everything that is decided outside a module.

    Attributes:
        home: Folder for all state of local runs, relative to the project.
        remote_home: gs:// URI of what runs on a cluster share: modules, models, runs, checkpoints, deployments.
        modules: Folder of the modules, relative to the project.
        image: What tasks run in on a cluster, by digest: `REPOSITORY@sha256:…`. `slipway deploy` finds it itself.
        compute: By task; `default` is for those not named.
        schedules: Recurring runs, by name.
    """

    home: Path = Path(".slipway")
    remote_home: str = ""
    modules: Path = Path("modules")
    image: str = ""
    beam: Beam = Beam()
    distribution: Distribution = Distribution()
    evaluation: Evaluation = Evaluation()
    compute: dict[str, Compute] = {}
    kubeflow: Kubeflow = Kubeflow()
    vertex: Vertex = Vertex()
    delivery: Delivery = Delivery()
    serving: Serving = Serving()
    notifications: Notifications = Notifications()
    schedules: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")], Schedule] = {}
