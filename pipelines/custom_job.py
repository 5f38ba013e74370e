"""A step as a custom job of Vertex AI, by Google's own wrapper: the one way there to run it on several machines.

Each machine runs the whole step, and finds the others in TF_CONFIG.
"""

from __future__ import annotations

import copy
from typing import Any

from kfp import dsl

from slipway.compute import Compute
from slipway.errors import ConfigError

# Machines that Vertex trains on: memory in GiB for each CPU, and their numbers of CPUs.
# https://cloud.google.com/vertex-ai/docs/training/configure-compute#machine-types
_FAMILIES = {"n1-standard": (3.75, (4, 8, 16, 32, 64, 96)), "n1-highmem": (6.5, (2, 4, 8, 16, 32, 64, 96))}
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
# Of the run, which Vertex fills in: a custom job does not inherit them.
_OF_THE_RUN = {
    "service_account": "{{$.pipeline_service_account}}",
    "network": "{{$.pipeline_network}}",
    "encryption_spec_key_name": "{{$.pipeline_encryption_key_name}}",
}


def machine_type(compute: Compute) -> str:
    """The smallest machine with these CPUs and this memory.

    Raises:
        ConfigError: there is none.
    """
    cpus, gib = _number(compute.cpu), _number(compute.memory) / 2**30
    fitting = [
        (count * each, f"{name}-{count}")
        for name, (each, counts) in _FAMILIES.items()
        for count in counts
        if count >= cpus and count * each >= gib
    ]
    if not fitting:
        raise ConfigError(
            f"compute.train_model: no machine of Vertex's families {' and '.join(_FAMILIES)} has {compute.cpu} CPUs "
            f"and {compute.memory}: ask for less, and for more distribution.workers"
        )
    return min(fitting)[1]


def as_custom_job(step: Any, image: str, compute: Compute, workers: int) -> Any:
    """The step as a component that runs it on several machines at once."""
    from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component

    own = copy.deepcopy(step)
    own.component_spec.implementation.container.image = image
    return create_custom_training_job_from_component(
        own,
        replica_count=workers,
        machine_type=machine_type(compute),
        # TensorFlow's group does not take a member back: all begin again.
        restart_job_on_worker_restart=True,
        **_OF_THE_RUN,
    )


def is_custom_job(task: dsl.PipelineTask) -> bool:
    """Whether a task's own container is Google's, which only starts the job."""
    return "worker_pool_specs" in (task.component_spec.inputs or {})


def _number(quantity: str) -> float:
    """A quantity of Kubernetes: `500m`, `8Gi`."""
    if quantity.endswith("m"):
        return float(quantity[:-1]) / 1000
    unit = next((unit for unit in _UNITS if quantity.endswith(unit)), "")
    return float(quantity.removesuffix(unit)) * _UNITS.get(unit, 1)
