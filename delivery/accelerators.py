"""Accelerators that a pipeline asks for: why a platform could not give them, or a step not use them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pipelines.machines import machines_with
from slipway.compute import TRAINING_STEPS, Accelerator, Compute, DistributionConfig, compute_of
from slipway.targets import RemoteTarget

# A task of Vertex gets the closest machine of up to so many cores and GB
# (cloud.google.com/vertex-ai/docs/pipelines/machine-types); where there is none, it fails as it starts.
_CORES, _GIB = 96, 624


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
            # A worker uses all GPUs of its machine, and a search has no workers.
            one_device = distribution.strategy == "one_device" and (name != "train_model" or distribution.workers == 1)
            asked = its.accelerators(target)
            found = _problems(target, its, gpu_image, one_device) if asked else _left(distribution)
            yield from (f"{name}: {problem.format(name=name, target=target)}" for problem in found)


def _problems(target: RemoteTarget, its: Compute, gpu_image: str, one_device: bool) -> Iterator[str]:
    if not gpu_image:
        yield (
            f"it asks for {its.accelerators(target)}, and there is no image for it: set gpu_image: REPOSITORY@sha256:… "
            "in the settings; `slipway deploy` builds and finds it"
        )
    if its.count > 1 and one_device:
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
    name = its.accelerator.vertex
    machines = {
        count: (min(_CORES, max(one.cpus for one in all_)), min(_GIB, max(one.gib for one in all_)))
        for count, all_ in machines_with(name).items()
    }
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
            f"largest machine with {its.count} has {cores} and {memory:g}Gi: ask for less{other}"
        )


def _within(its: Compute, cores: int, memory: float) -> bool:
    from kubernetes.utils.quantity import parse_quantity

    return bool(parse_quantity(its.cpu) <= cores and parse_quantity(its.memory) <= memory * 2**30)
