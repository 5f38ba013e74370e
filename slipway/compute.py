"""Resources of a task on a cluster, and how models are trained on its devices."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from slipway.targets import RemoteTarget, Target

# The steps that may ask for an accelerator: they fit models, and no other step would use it.
TRAINING_STEPS = ("train_model", "tune_model")


def _of_nvidia(name: str) -> str:
    if name and not re.fullmatch(r"nvidia\.com/[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(
            "no resource of NVIDIA's device plugin, and the image has NVIDIA's libraries alone; give nvidia.com/gpu"
        )
    return name


class Accelerator(BaseModel):
    """GPUs of one task: what each platform calls them.

    Attributes:
        kubeflow: Resource of the nodes, as NVIDIA's device plugin names it: `nvidia.com/gpu`. `train_model` and
            `tune_model` only: [gpu.md](gpu.md).
        vertex: Vertex's name of the GPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeflow: Annotated[str, AfterValidator(_of_nvidia)] = Field("", examples=["nvidia.com/gpu"])
    vertex: Literal[
        "",
        "NVIDIA_L4",
        "NVIDIA_TESLA_T4",
        "NVIDIA_TESLA_P4",
        "NVIDIA_TESLA_P100",
        "NVIDIA_TESLA_V100",
        "NVIDIA_TESLA_A100",
        "NVIDIA_A100_80GB",
        "NVIDIA_H100_80GB",
    ] = ""

    def on(self, target: Target) -> str:
        """Its name on a target; empty where the task asks for none, as it does on this machine."""
        return str(getattr(self, target, ""))


class Toleration(BaseModel):
    """A taint that does not keep a task's pod away, as Kubernetes writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""

    @model_validator(mode="after")
    def _is_one_of_kubernetes(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value: remove it, or write operator: Equal")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal, the default, needs a key; operator: Exists without one means all taints")
        return self


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
        count: How many accelerators; more than one needs `distribution.strategy: mirrored`, or several workers.
        node_selector: Labels of the nodes that the pod may run on, on Kubeflow alone:
            `{cloud.google.com/gke-accelerator: nvidia-l4}`.
        tolerations: Taints of nodes that the pod may run on all the same, on Kubeflow alone:
            `[{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str = "1"
    memory: str = "2Gi"
    disk: str = Field("", pattern=r"^([1-9][0-9]*([kMGT]|[KMGT]i)?)?$")
    retries: int = Field(0, ge=0, le=5)
    accelerator: Accelerator = Accelerator()
    count: int = Field(1, ge=1, le=16)
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()

    def accelerators(self, target: Target) -> str:
        """What it asks of a target, as `1 NVIDIA_L4`; empty if nothing."""
        name = self.accelerator.on(target)
        return f"{self.count} {name}" if name else ""

    def with_accelerators(self, target: RemoteTarget, accelerators: str) -> Self:
        """The same with what `accelerators` told of a run."""
        count, _, name = accelerators.partition(" ")
        changed = {"accelerator": Accelerator.model_validate({target: name}), "count": int(count or 1)}
        return self.model_copy(update=changed)


def compute_of(compute: Mapping[str, Compute], step: str) -> Compute:
    """The resources of a step: its own, or those of `default`."""
    return compute.get(step, compute.get("default", Compute()))


def accelerators_of(compute: Mapping[str, Compute], target: Target) -> dict[str, str]:
    """What each step that trains asks of a target; a step that asks for nothing is not among them."""
    asked = {step: compute_of(compute, step).accelerators(target) for step in TRAINING_STEPS}
    return {step: accelerators for step, accelerators in asked.items() if accelerators}


class DistributionConfig(BaseModel):
    """How models are trained on the devices of a step.

    Attributes:
        strategy: Strategy of `tf.distribute` on one machine: one device, or all of its GPUs.
        workers: Machines that train one model together, each on its part of the rows and with all of its GPUs; they
            share each batch of `training.batch_size` rows. [workers.md](workers.md) has what each platform needs.
        mixed_precision: Type in which a GPU computes, while weights stay float32: `bfloat16` from Ampere on (L4, A100,
            H100), `float16` on older ones. The pushed model is float32. Left off where there is no GPU.
        xla: Whether XLA compiles the training of one worker for the GPU. Left off where there is none: it makes a CPU's
            epochs 13 times as long.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Literal["one_device", "mirrored"] = "one_device"
    workers: int = Field(1, ge=1, le=64)
    mixed_precision: Literal["none", "float16", "bfloat16"] = "none"
    xla: bool = False

    @model_validator(mode="after")
    def _suits_several_workers(self) -> Self:
        if self.xla and self.workers > 1:
            raise ValueError(
                f"xla: true compiles no training of {self.workers} workers, which exchange gradients within a step; "
                "set xla: false, or workers: 1"
            )
        if self.mixed_precision == "float16" and self.workers > 1:
            # Keras scales losses in each worker for itself: where one alone overflows, the others wait for it for ever.
            raise ValueError(
                f"mixed_precision: float16 does not work with {self.workers} workers; set mixed_precision: bfloat16, "
                "which GPUs have from Ampere on, or none, or workers: 1"
            )
        return self


class Distribution(DistributionConfig):
    """Distributed training as a step is given it, with the platform that it runs on."""

    target: Target = "local"

    @property
    def on_one_machine(self) -> bool:
        """Whether several workers share this machine."""
        return self.workers > 1 and self.target == "local"
