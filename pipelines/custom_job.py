"""A step as a custom job of Vertex AI, by Google's own wrapper: the one way there to run it on several machines.

Each machine runs the whole step, and finds the others in TF_CONFIG.
"""

from __future__ import annotations

import copy
from typing import Any

from kfp import dsl

from pipelines.machines import machines_with
from slipway.compute import Compute
from slipway.errors import ConfigError

# Of the run, which Vertex fills in: a custom job does not inherit them.
_OF_THE_RUN = {
    "service_account": "{{$.pipeline_service_account}}",
    "encryption_spec_key_name": "{{$.pipeline_encryption_key_name}}",
}
_NETWORK_OF_THE_RUN = "{{$.pipeline_network}}"


def machine_type(compute: Compute) -> str:
    """The smallest machine with these CPUs, this memory and these GPUs.

    Raises:
        ConfigError: there is none.
    """
    from kubernetes.utils.quantity import parse_quantity

    gpu = compute.accelerator.vertex
    cpus, memory = parse_quantity(compute.cpu), parse_quantity(compute.memory)
    machines = machines_with(gpu).get(compute.count if gpu else 0, [])
    fitting = [machine for machine in machines if machine.cpus >= cpus and machine.gib * 2**30 >= memory]
    if not fitting:
        raise ConfigError(
            f"compute.train_model: no machine of Vertex {f'with {compute.count} {gpu} ' if gpu else ''}has "
            f"{compute.cpu} CPUs and {compute.memory}: ask for less, and for more distribution.workers"
        )
    return min(fitting).name


def as_custom_job(step: Any, image: str, compute: Compute, workers: int, network_attachment: str = "") -> Any:
    """The step as a component that runs it on several machines at once.

    They reach a VPC by the network attachment, which Vertex has no placeholder for, or as the run does by its network;
    Google's wrapper takes one of the two.
    """
    from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component

    own = copy.deepcopy(step)
    own.component_spec.implementation.container.image = image
    return create_custom_training_job_from_component(
        own,
        replica_count=workers,
        machine_type=machine_type(compute),
        accelerator_type=compute.accelerator.vertex,
        accelerator_count=compute.count,
        # TensorFlow's group does not take a member back: all begin again.
        restart_job_on_worker_restart=True,
        network="" if network_attachment else _NETWORK_OF_THE_RUN,
        psc_interface_config={"network_attachment": network_attachment} if network_attachment else None,
        **_OF_THE_RUN,
    )


def is_custom_job(task: dsl.PipelineTask) -> bool:
    """Whether a task's own container is Google's, which only starts the job."""
    return "worker_pool_specs" in (task.component_spec.inputs or {})
