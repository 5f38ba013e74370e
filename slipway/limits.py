"""The memory and the processors that this process may use, as its control groups have them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from slipway.compute import TRAINING_STEPS


def memory_limit(root: str = "/") -> int:
    """The bytes that this process may use: the least limit of its control groups, or what the machine has.

    `root` is where `proc` and `sys` lie.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for group in _groups("memory", root):
        for file in ("memory.max", "memory.limit_in_bytes"):  # of version 2 and 1 of control groups
            limits += [int(text) for text in _read(group / file) if text.isdigit()]
    return min(limits)


def processors(root: str = "/") -> int:
    """The processors that this process may use: the least quota of its control groups, or those it may run on."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for group in _groups("cpu", root):
        quota = _read(group / "cpu.max") or _read(group / "cpu.cfs_quota_us") + _read(group / "cpu.cfs_period_us")
        if len(quota) == 2 and quota[0].isdigit():  # "max", or -1, where there is none
            counts.append(math.ceil(int(quota[0]) / int(quota[1])))
    return min(counts)


def limit_tensorflow(step: str) -> None:
    """Makes TensorFlow start as many threads as there are processors for it, unless the environment says how many.

    It counts those of the machine itself, of which a pod may use a few. Where a model is trained on two, one thread
    computes each operation: mostly there are two to do at once, and the steps of a small model take three quarters of
    the time (docs/decisions/0075-tensorflow-gets-the-threads-of-its-pod.md). To be called before TensorFlow's first
    operation.
    """
    count = processors()
    within = 1 if step in TRAINING_STEPS and count == 2 else count
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(count))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(within))


def _groups(controller: str, root: str) -> Iterator[Path]:
    """The folders of this process's control groups for a controller, the innermost first.

    A container sees its own group at the top of `sys/fs/cgroup`, whatever `/proc/self/cgroup` calls it.
    """
    file = Path(root, "proc/self/cgroup")
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = Path(root, "sys/fs/cgroup", *([controller] if controllers else []))
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder
            if folder == top:
                break


def _read(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").split() if file.exists() else []
