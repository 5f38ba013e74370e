"""All settings with types and defaults. They name secrets and never hold them.

`python -m tests.docs.settings_page` generates docs/settings.md from the `Attributes` of the docstrings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serving.rollout.policy import RolloutPolicy
from settings.cron import normalise_cron
from settings.targets import Kubeflow, Vertex, WebAddress
from slipway.compute import Compute
from slipway.lineage import DEFAULT_PIPELINE
from slipway.runs.notifications.config import Notifications
from slipway.targets import RemoteTarget


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Beam(_Strict):
    """Apache Beam, which TensorFlow Transform and the `tfma` engine run on.

    Attributes:
        options: Beam's pipeline options, as on its command line: `--runner=DataflowRunner`, `--region=…`. Workers on
            other machines need `--temp_location`.
    """

    options: tuple[str, ...] = ("--runner=FnApiRunner",)


class Distribution(_Strict):
    """Distributed training.

    Attributes:
        strategy: Strategy of `tf.distribute`: one device, all GPUs of one machine, or several machines by `TF_CONFIG`.
    """

    strategy: Literal["one_device", "mirrored", "multi_worker"] = "one_device"


class Evaluation(_Strict):
    """Evaluation of a candidate.

    Attributes:
        engine: `vectorised` holds predictions of the eval split in memory; `tfma` runs TFMA on Beam.
    """

    engine: Literal["vectorised", "tfma"] = "vectorised"


class Delivery(_Strict):
    """The image that `slipway plan` looks for and `slipway deploy` builds, and the target of its runs.

    Attributes:
        target: Target of the runs.
        image_repository: Repository of the image, without a tag: `REGION-docker.pkg.dev/PROJECT/slipway/slipway`.
        builder: Program that builds and pushes it.
        build_arguments: Build arguments. They change the image, so they are part of its tag:
            `{ACCELERATOR: gpu}`.
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
        max_concurrency: Largest number of its runs at a time.
        catch_up: Whether runs that were missed are made up for, after the target was down or the schedule paused.
        enabled: Whether the target has it.
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
            kubeconfig. If empty, steps take the cluster that they run in, and you the current context.
    """

    overlay: str = ""
    cluster: str = ""

    @property
    def policy(self) -> dict[str, Any]:
        """The fields of `RolloutPolicy` alone, as a pipeline's parameter."""
        return self.model_dump(include=set(RolloutPolicy.model_fields))


class Settings(_Strict):
    """All decisions outside a module.

    Attributes:
        home: Folder for all state of local runs, relative to the project.
        remote_home: gs:// URI of the state that clusters share: modules, models, runs, checkpoints, deployments.
        modules: Folder of the modules, relative to the project.
        image: Image of all tasks on a cluster, by digest: `REPOSITORY@sha256:…`. `slipway deploy` finds it itself.
        compute: Resources by task; `default` is for tasks that are not named.
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
