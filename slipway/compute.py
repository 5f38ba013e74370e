"""Resources of a task on a cluster, and the strategy of distributed training."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slipway.targets import Target


class Compute(BaseModel):
    """Resources of one task; Kubernetes' requests and limits are equal.

    Attributes:
        cpu: Cores, in Kubernetes' units.
        memory: In Kubernetes' units. A step that needs more is killed, and its pod says OOMKilled.
        disk: Ephemeral storage in Kubernetes' units, for inputs, outputs and what is written meanwhile; the namespace's
            default if empty. On Kubeflow alone: a step on Vertex has a machine of its own.
        retries: How often the platform restarts a failed task, however long it ran: after 30 s, then 60 s, 120 s and
            so on, on Vertex 300 s at most. Kubeflow Pipelines 2.17 restarts lost pods only, in tasks with `0` too,
            until its own default is removed: [kubeflow.md](kubeflow.md#when-a-step-fails).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str = "1"
    memory: str = "2Gi"
    disk: str = Field("", pattern=r"^([1-9][0-9]*([kMGT]|[KMGT]i)?)?$")
    retries: int = Field(0, ge=0, le=5)


class DistributionConfig(BaseModel):
    """Distributed training.

    Attributes:
        strategy: Strategy of `tf.distribute` on one machine: one device, or all of its GPUs.
        workers: Machines that train one model together, each on its part of the rows and with all of its GPUs; they
            share each batch of `training.batch_size` rows. [workers.md](workers.md) has what each platform needs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Literal["one_device", "mirrored"] = "one_device"
    workers: int = Field(1, ge=1, le=64)


class Distribution(DistributionConfig):
    """Distributed training as a step is given it, with the platform that it runs on."""

    target: Target = "local"
