"""All settings, with their types and defaults. No secrets: what is secret is named here and fetched elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from slipway.notifications.config import Notifications


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Beam(_Strict):
    """Apache Beam's pipeline options, as on its command line: `--runner=DataflowRunner`, `--region=…`."""

    options: tuple[str, ...] = ("--runner=FnApiRunner",)


class Distribution(_Strict):
    """How training is spread, by `tf.distribute`."""

    strategy: Literal["one_device", "mirrored", "multi_worker"] = "one_device"


class Evaluation(_Strict):
    """`vectorised` holds predictions of the eval split in memory; `tfma` runs TFMA on Beam."""

    engine: Literal["vectorised", "tfma"] = "vectorised"


class Compute(_Strict):
    """What one task asks of the cluster, in Kubernetes' units."""

    cpu: str = "1"
    memory: str = "2Gi"
    retries: int = Field(0, ge=0, le=5)


class Kubeflow(_Strict):
    """Kubeflow Pipelines; `slipway submit --target kubeflow` needs at least `endpoint`.

    `endpoint` is the address of the API, without `/apis`; `ui` is that of the UI if it is another. `namespace` is the
    profile's on a multi-user installation. `auth` says what a request carries: nothing, the service account's token
    (inside the cluster), a bearer token, or the cookie of an OIDC login. Token and cookie are secrets: the variable
    `credential_variable` or the file `credential_file` holds them. `ca_file` is for a certificate of one's own.
    `pipeline_root` is where artifacts go; `<remote_home>/artifacts` if it is empty.
    """

    endpoint: str = ""
    ui: str = ""
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
    """Vertex AI Pipelines; `slipway submit --target vertex` needs at least `project` and `location`.

    Credentials are Google's application default ones. `service_account` is what the tasks run as, `network` a VPC in
    full (`projects/NUMBER/global/networks/NAME`), `encryption_key` a key of Cloud KMS in full (CMEK). `endpoint` and
    `logging_endpoint` are for private addresses and emulators; one that begins with http:// gets no credentials.
    `pipeline_root` is where artifacts go; `<remote_home>/artifacts` if it is empty.
    """

    project: str = ""
    location: str = ""
    pipeline_root: str = ""
    service_account: str = ""
    network: str = ""
    encryption_key: str = ""
    labels: dict[str, str] = {}
    endpoint: str = ""
    logging_endpoint: str = ""
    timeout_seconds: float = Field(60, gt=0)


class Delivery(_Strict):
    """What `slipway plan` looks up and `slipway deploy` does; `target` is where it submits.

    `image_repository` is where the image lives, without a tag: `REGION-docker.pkg.dev/PROJECT/slipway/slipway`.
    `builder` builds and pushes it. `build_arguments` decide what is in it, so they are part of its tag;
    `build_options` are further flags that do not, like `--cache-from=…`.
    """

    target: Literal["kubeflow", "vertex"] = "kubeflow"
    image_repository: str = ""
    builder: Literal["docker", "podman"] = "docker"
    build_arguments: dict[str, str] = {}
    build_options: tuple[str, ...] = ()


_CRON_FIELD = r"[0-9A-Za-z*,/-]+"


class Schedule(_Strict):
    """A recurring run of the training pipeline, which `slipway schedules apply` keeps on a target.

    `cron` has the five fields of Unix cron, in UTC. `data` is a URI, as for `slipway submit --data`; with `{SPAN}` in
    it each run reads the newest. `overrides` are keys and values, as `--set` takes them. With `catch_up` the target
    also runs what it missed while it was down or the schedule was paused.
    """

    module: str
    cron: str = Field(pattern=rf"^{_CRON_FIELD}( {_CRON_FIELD}){{4}}$", examples=["0 3 * * *"])
    data: str | None = None
    overrides: dict[str, Any] = {}
    max_concurrency: int = Field(1, ge=1, le=10)
    catch_up: bool = False
    enabled: bool = True


class Serving(_Strict):
    """Where pushed models are served, and what a version's canary must show before it is promoted.

    `overlay` names a folder of manifests/overlays, which also has the cluster's namespace; without one nothing is
    rolled out. `cluster` is one of GKE (`projects/P/locations/L/clusters/C`, which steps on Vertex need) or a context
    of your kubeconfig; if it is empty, steps take the cluster that they run in, and you the current context.
    `models_path` is the model store as serving pods see it (gs://…, or where a volume is mounted); the store's own
    address if it is empty.

    The canary's share of the traffic is its share of all replicas. It is compared with stable over `window_seconds` at
    least, once each has answered `min_requests` (of fewer, a p99 is noise); after `traffic_seconds` without as many the
    rollout is inconclusive, and `on_inconclusive` says whether the canary stays for a decision or goes.
    `max_error_increase` is how much higher its share of errors may be, `max_p99_ratio` how many times stable's 99th
    percentile of latency its own.
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

    `home` holds all state of local runs, `modules` the modules; both are relative to the project. `remote_home`, a
    gs:// URI, holds what runs on a cluster share: modules, models, runs, checkpoints. `image` is what tasks run in on a
    cluster, by digest. `compute` maps task names to what they ask for; `default` is for the others.
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
