"""What the platform gives to every pipeline: an image, resources, retries, the run's id, and the places of its data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl

from components.record_run.component import record_run
from pipelines.custom_job import as_custom_job, is_custom_job
from slipway.compute import Compute, compute_of
from slipway.targets import Target


@dataclass(frozen=True)
class TaskDefaults:
    """How one platform runs tasks.

    Attributes:
        image: Image of the tasks.
        gpu_image: Image of those with an accelerator.
        target: The platform, which has names of its own for accelerators.
        compute: Resources by task; `default` is for tasks that are not named.
        job: Placeholder of the run's id, as `slipway.runs.naming.job_id` takes it.
        job_created: Placeholder of the time when the run was created; kfp.local has none.
        backoff_max: kfp's `backoff_max_duration`, which each platform reads in its own way.
        cached: Whether steps may be served from a cache.
        network_attachment: That of a custom job of Vertex.
    """

    image: str
    gpu_image: str = ""
    target: Target = "local"
    compute: Mapping[str, Compute] = field(default_factory=dict)
    job: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    job_created: str = ""
    backoff_max: str = ""
    cached: bool = True
    network_attachment: str = ""

    def image_of(self, compute: Compute) -> str:
        """The image of a task with these resources."""
        return self.gpu_image if compute.accelerator.on(self.target) else self.image

    def apply(self, task: dsl.PipelineTask, title: str, *, cached: bool = True) -> dsl.PipelineTask:
        """Sets image, display name, resources, retries and caching of one task."""
        # Of several tasks of one component, the second is called `name-2`.
        compute = compute_of(self.compute, re.sub(r"-\d+$", "", task.name).replace("-", "_"))
        task.set_display_name(title)
        task.set_caching_options(cached and self.cached)
        if not is_custom_job(task):
            task.set_container_image(self.image_of(compute))
            if accelerator := compute.accelerator.on(self.target):
                task.set_accelerator_type(accelerator).set_accelerator_limit(compute.count)
            task.set_cpu_request(compute.cpu).set_cpu_limit(compute.cpu)
            task.set_memory_request(compute.memory).set_memory_limit(compute.memory)
        if compute.retries:
            task.set_retry(compute.retries, "30s", backoff_factor=2, backoff_max_duration=self.backoff_max)
        return task

    def recorded(self, given: Mapping[str, Any], name: str) -> dsl.ExitHandler:
        """The block of a pipeline's steps, called by the pipeline's name; at its end the run is recorded.

        The exit handler takes `run` and the fields among what is given. Kubeflow's UI shows the block as one box, which
        opens.
        """
        known = {**given, "job": self.job, "job_created": self.job_created}
        on_exit = record_run(**{key: known[key] for key in record_run.component_spec.inputs if key in known})
        return dsl.ExitHandler(self.apply(on_exit, "Record the run", cached=False), name=name)


class Steps:
    """Adds steps to a pipeline. Inputs are connected by name: with the outputs of earlier steps, or with what is given.

    The inputs `job` and `job_created` are the platform's. They tell the runs of a schedule and the clones of a run
    apart, all of which have the same arguments.
    """

    def __init__(self, defaults: TaskDefaults, given: Mapping[str, Any]) -> None:
        self._defaults = defaults
        self._known = {**given, "job": defaults.job, "job_created": defaults.job_created}

    def add(
        self,
        step: Any,
        title: str,
        *,
        cached: bool = True,
        after: dsl.PipelineTask | None = None,
        machines: int = 1,
        **own: Any,
    ) -> dsl.PipelineTask:
        """Adds a component, which waits for the steps of its inputs and for `after`; `own` are inputs of this one.

        With several `machines` it is a custom job of Vertex.
        """
        known = self._known | own
        given = {name: known[name] for name in step.component_spec.inputs or {}}
        if machines > 1:
            compute = compute_of(self._defaults.compute, step.component_spec.name.replace("-", "_"))
            its = self._defaults
            step = as_custom_job(step, its.image_of(compute), compute, machines, its.network_attachment)
        task = step(**given)
        self._known |= task.outputs
        if after is not None:
            task.after(after)
        return self._defaults.apply(task, title, cached=cached)
