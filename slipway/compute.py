"""Resources of a task on a cluster, and the strategy of distributed training; the memory that this process may use."""

import os
from pathlib import Path
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


def memory_limit(root: str = "/") -> int:
    """The bytes that this process may use: the least limit of its control groups, or what the machine has.

    `root` is where `proc` and `sys` lie. A container sees its own group at the top of `sys/fs/cgroup`, whatever
    `/proc/self/cgroup` calls it.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    groups = Path(root, "proc/self/cgroup")
    for line in groups.read_text(encoding="utf-8").splitlines() if groups.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = Path(root, "sys/fs/cgroup", *(["memory"] if controllers else []))
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            file = folder / ("memory.limit_in_bytes" if controllers else "memory.max")
            if file.exists() and (text := file.read_text(encoding="ascii").strip()).isdigit():
                limits.append(int(text))
            if folder == top:
                break
    return min(limits)
