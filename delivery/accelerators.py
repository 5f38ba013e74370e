"""Accelerators that a pipeline asks for: why a platform could not give them, or a step not use them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from slipway.compute import TRAINING_STEPS, Accelerator, Compute, DistributionConfig, compute_of
from slipway.targets import RemoteTarget

# Cores and GiB of the largest machine that Vertex has with so many of a GPU, by GPU and number:
# cloud.google.com/vertex-ai/docs/training/configure-compute and …/compute/docs/gpus. A step gets the closest machine,
# of up to 96 cores and 624 GB (…/vertex-ai/docs/pipelines/machine-types); where there is none, it fails as it starts.
_MACHINES: dict[str, dict[int, tuple[int, int]]] = {
    "NVIDIA_L4": {1: (32, 128), 2: (24, 96), 4: (48, 192), 8: (96, 384)},  # g2-standard
    "NVIDIA_TESLA_T4": {1: (16, 104), 2: (32, 208), 4: (96, 624)},  # n1, as the next three
    "NVIDIA_TESLA_P4": {1: (16, 104), 2: (32, 208), 4: (96, 624)},
    "NVIDIA_TESLA_P100": {1: (16, 104), 2: (32, 208), 4: (32, 208)},
    "NVIDIA_TESLA_V100": {1: (8, 52), 2: (16, 104), 4: (32, 208), 8: (96, 624)},
    "NVIDIA_TESLA_A100": {1: (12, 85), 2: (24, 170), 4: (48, 340), 8: (96, 624), 16: (96, 624)},  # a2
    "NVIDIA_A100_80GB": {1: (12, 170), 2: (24, 340), 4: (48, 624), 8: (96, 624)},
    "NVIDIA_H100_80GB": {8: (96, 624)},  # a3; those with fewer are lent as Spot, which no step can ask for
}


def accelerator_problems(
    target: RemoteTarget,
    compute: Mapping[str, Compute],
    steps: Collection[str],
    gpu_image: str,
    distribution: DistributionConfig,
) -> Iterator[str]:
    """Why the steps of a pipeline cannot have the accelerators of the settings, each with the step's name."""
    for name, its in compute.items():
        if name not in TRAINING_STEPS and its.accelerator != Accelerator():
            known = " and ".join(TRAINING_STEPS)
            yield f"{name}: compute.{name}.accelerator: only {known} use one, and others would hold it idle; remove it"
    for name in TRAINING_STEPS:
        if name in steps:
            its = compute_of(compute, name)
            found = _problems(target, its, gpu_image, distribution) if its.accelerators(target) else _left(distribution)
            yield from (f"{name}: {problem.format(name=name, target=target)}" for problem in found)


def _problems(target: RemoteTarget, its: Compute, gpu_image: str, distribution: DistributionConfig) -> Iterator[str]:
    if not gpu_image:
        yield (
            f"it asks for {its.accelerators(target)}, and there is no image for it: set gpu_image: REPOSITORY@sha256:… "
            "in the settings; `slipway deploy` builds and finds it"
        )
    if its.count > 1 and distribution.strategy == "one_device":
        yield (
            f"compute.{{name}}.count = {its.count}, and distribution.strategy = one_device uses one of them; set "
            "distribution.strategy: mirrored, or count: 1"
        )
    if target == "kubeflow" and its.disk:
        yield (
            f"compute.{{name}}.disk = {its.disk}: Kubeflow has one field for it and the accelerator; remove disk, and "
            "limit it by a LimitRange in the namespace of the runs"
        )
    if target == "vertex":
        yield from _machine_problems(its)


def _left(distribution: DistributionConfig) -> Iterator[str]:
    fix = "set compute.{name}.accelerator.{target}, or remove it"
    if distribution.mixed_precision != "none":
        yield f"distribution.mixed_precision = {distribution.mixed_precision}: without a GPU it only costs time; {fix}"
    if distribution.xla:
        yield f"distribution.xla = true: without a GPU, XLA makes a CPU's epochs 13 times as long; {fix}"


def _machine_problems(its: Compute) -> Iterator[str]:
    """Why Vertex has no machine with these accelerators, cores and memory."""
    name, machines = its.accelerator.vertex, _MACHINES[its.accelerator.vertex]
    if its.count not in machines:
        counts = ", ".join(map(str, machines))
        yield f"compute.{{name}}.count = {its.count}: Vertex has machines with {counts} of {name}; give one of these"
        return
    cores, memory = machines[its.count]
    fits = [str(count) for count, most in machines.items() if _within(its, *most)]
    if not _within(its, cores, memory):
        other = f", or count: {fits[0]}" if fits else ""
        yield (
            f"compute.{{name}} asks for cpu {its.cpu} and memory {its.memory} with {its.count} {name}; Vertex's "
            f"largest machine with {its.count} has {cores} and {memory}Gi: ask for less{other}"
        )


def _within(its: Compute, cores: int, memory: int) -> bool:
    from kubernetes.utils.quantity import parse_quantity

    return bool(parse_quantity(its.cpu) <= cores and parse_quantity(its.memory) <= memory * 2**30)
