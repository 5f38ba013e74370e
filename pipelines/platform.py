"""What the platform gives to every pipeline: an image, resources, retries, the run's id, and the places of its data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from kfp import dsl

from components.record_run.component import record_run
from slipway.compute import Compute
from slipway.module_api import ModuleConfig
from slipway.stores.module_store import PublishedModule
from slipway.stores.storage import join
from slipway.targets import Target


@dataclass(frozen=True)
class TaskDefaults:
    """How one platform runs tasks.

    Attributes:
        image: Image of all tasks.
        compute: Resources by task; `default` is for tasks that are not named.
        job: Placeholder of the run's id, as `slipway.runs.naming.job_id` takes it.
        job_created: Placeholder of the time when the run was created; kfp.local has none.
        backoff_max: kfp's `backoff_max_duration`, which each platform reads in its own way.
    """

    image: str
    compute: Mapping[str, Compute] = field(default_factory=dict)
    job: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    job_created: str = ""
    backoff_max: str = ""

    def apply(self, task: dsl.PipelineTask, title: str, *, cached: bool = True) -> dsl.PipelineTask:
        """Sets image, display name, resources, retries and caching of one task."""
        compute = self.compute.get(task.name.replace("-", "_"), self.compute.get("default", Compute()))
        task.set_container_image(self.image)
        task.set_display_name(title)
        task.set_caching_options(cached)
        task.set_cpu_request(compute.cpu).set_cpu_limit(compute.cpu)
        task.set_memory_request(compute.memory).set_memory_limit(compute.memory)
        if compute.retries:
            longest = self.backoff_max
            task.set_retry(compute.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration=longest)
        return task

    def recorded(self, run: str) -> dsl.ExitHandler:
        """The block of a pipeline's steps, after which the run is recorded, however it ended.

        Args:
            run: The pipeline's parameter of that name.
        """
        on_exit = record_run(run=run, job=self.job, job_created=self.job_created)
        return dsl.ExitHandler(self.apply(on_exit, "Record the run", cached=False), name="steps")


class Steps:
    """Adds steps to a pipeline. Inputs are connected by name: with the outputs of earlier steps, or with parameters.

    The parameters `job` and `job_created` are the platform's. They tell the runs of a schedule and the clones of a run
    apart, all of which have the same arguments.
    """

    def __init__(self, defaults: TaskDefaults, parameters: Mapping[str, Any]) -> None:
        self._defaults = defaults
        self._known = {**parameters, "job": defaults.job, "job_created": defaults.job_created}

    def add(
        self, step: Any, title: str, *, cached: bool = True, after: dsl.PipelineTask | None = None
    ) -> dsl.PipelineTask:
        """Adds a component, which waits for the steps of its inputs and for `after`."""
        task = step(**{name: self._known[name] for name in step.component_spec.inputs or {}})
        self._known |= task.outputs
        if after is not None:
            task.after(after)
        return self._defaults.apply(task, title, cached=cached)


@dataclass(frozen=True)
class Locations:
    """Where a target keeps what outlives a run: directories or gs:// URIs. `sources` are lists of files by digest."""

    modules: str
    store: str
    runs: str
    sources: str
    checkpoints: str

    @classmethod
    def under(cls, home: str) -> Self:
        """Folders of one home."""
        return cls(*(join(home, name) for name in ("modules", "models", "runs", "sources", "checkpoints")))


@dataclass(frozen=True)
class Platform:
    """What the settings say about the platform of a run.

    Attributes:
        target: The platform.
        image: Image of all tasks.
        beam_options: Pipeline options of Apache Beam.
        strategy: Strategy of `tf.distribute`.
        engine: Engine of the evaluation.
        manifests_uri: The published overlay of the cluster that serves the models; nothing is rolled out without one.
        cluster: That cluster, as `serving.rollout.Cluster` takes it.
        rollout: `serving.rollout.RolloutPolicy`.
        notifications: `slipway.runs.notifications.Notifications`; no one is notified without.
        page: Address of a run in the UI, with `slipway.runs.naming.JOB` in place of its id.
    """

    target: Target
    image: str
    beam_options: tuple[str, ...]
    strategy: str
    engine: str
    manifests_uri: str = ""
    cluster: str = ""
    rollout: dict[str, Any] = field(default_factory=dict)
    notifications: dict[str, Any] = field(default_factory=dict)
    page: str = ""


@dataclass(frozen=True)
class Inputs:
    """What a pipeline makes its arguments from."""

    module: PublishedModule
    config: ModuleConfig
    data_uri: str
    locations: Locations
    platform: Platform
