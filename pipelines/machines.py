"""Vertex AI's machines: their CPUs and memory, and which GPUs they have.

They are those of https://cloud.google.com/vertex-ai/docs/training/configure-compute; no call of Vertex tells them. N1
and its GPUs are Google's list in https://github.com/tensorflow/cloud (src/python/tensorflow_cloud/core/gcp.py); A2, A3
and G2 are described in https://cloud.google.com/compute/docs/accelerator-optimized-machines. A machine that is missing
here is refused until somebody adds it.
"""

from __future__ import annotations

from typing import NamedTuple


class Machine(NamedTuple):
    """A type of machine; the smallest comes first."""

    gib: float
    cpus: int
    name: str


def _family(name: str, gib: float, *cpus: int) -> list[Machine]:
    """Machines with so much memory for each CPU."""
    return [Machine(count * gib, count, f"{name}-{count}") for count in cpus]


_N1 = sorted(_family("n1-standard", 3.75, 4, 8, 16, 32, 64, 96) + _family("n1-highmem", 6.5, 2, 4, 8, 16, 32, 64, 96))
# GPUs that are attached to machines of N1: the most CPUs and memory, by number of GPUs.
_ATTACHED: dict[str, dict[int, tuple[int, int]]] = {
    "NVIDIA_TESLA_T4": {1: (16, 104), 2: (32, 208), 4: (96, 624)},
    "NVIDIA_TESLA_P4": {1: (16, 104), 2: (32, 208), 4: (96, 624)},
    "NVIDIA_TESLA_P100": {1: (16, 104), 2: (32, 208), 4: (32, 208)},
    "NVIDIA_TESLA_V100": {1: (8, 52), 2: (16, 104), 4: (32, 208), 8: (96, 624)},
}
# GPUs that machines have built in.
_BUILT_IN: dict[str, dict[int, list[Machine]]] = {
    "NVIDIA_L4": {
        1: _family("g2-standard", 4, 4, 8, 12, 16, 32),
        2: _family("g2-standard", 4, 24),
        4: _family("g2-standard", 4, 48),
        8: _family("g2-standard", 4, 96),
    },
    "NVIDIA_TESLA_A100": {
        1: [Machine(85, 12, "a2-highgpu-1g")],
        2: [Machine(170, 24, "a2-highgpu-2g")],
        4: [Machine(340, 48, "a2-highgpu-4g")],
        8: [Machine(680, 96, "a2-highgpu-8g")],
        16: [Machine(1360, 96, "a2-megagpu-16g")],
    },
    "NVIDIA_A100_80GB": {
        1: [Machine(170, 12, "a2-ultragpu-1g")],
        2: [Machine(340, 24, "a2-ultragpu-2g")],
        4: [Machine(680, 48, "a2-ultragpu-4g")],
        8: [Machine(1360, 96, "a2-ultragpu-8g")],
    },
    # Those with fewer are lent as Spot, which no step can ask for.
    "NVIDIA_H100_80GB": {8: [Machine(1872, 208, "a3-highgpu-8g")]},
}


def machines_with(gpu: str) -> dict[int, list[Machine]]:
    """The machines with a GPU, by number of GPUs; without a name those that have none, as 0."""
    if not gpu:
        return {0: _N1}
    if gpu in _BUILT_IN:
        return _BUILT_IN[gpu]
    return {
        count: [one for one in _N1 if one.cpus <= cpus and one.gib <= gib]
        for count, (cpus, gib) in _ATTACHED[gpu].items()
    }
