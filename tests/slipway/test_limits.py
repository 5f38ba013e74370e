"""The memory and the processors that a process may use, by the files that Linux shows."""

import os
from pathlib import Path

import pytest

from slipway import limits
from slipway.limits import limit_tensorflow, memory_limit, processors

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


PROCESSORS = processors("/nowhere")


def write_files(root: Path, group: str, files: dict[str, str]) -> None:
    """What Linux shows of a process's control groups."""
    written = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": group, **written}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "4096\n"}, 4096),  # a container on a node of today
        ("0::/\n", {"memory.max": "max\n"}, MACHINE),
        ("0::/a/b\n", {"memory.max": "max", "a/memory.max": "2048", "a/b/memory.max": "max"}, 2048),
        ("5:cpu,cpuacct:/\n4:memory:/pod\n0::/\n", {"memory/pod/memory.limit_in_bytes": "8192"}, 8192),
        # What the group is called outside; inside it is the top.
        ("4:memory:/kubepods/pod\n", {"memory/memory.limit_in_bytes": "1024"}, 1024),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_memory_limit_is_the_least_of_groups_and_machine(
    group: str, files: dict[str, str], limit: int, tmp_path: Path
) -> None:
    write_files(tmp_path, group, files)
    assert memory_limit(str(tmp_path)) == limit


def test_memory_limit_of_a_system_without_groups_is_the_machine(tmp_path: Path) -> None:
    assert memory_limit(str(tmp_path)) == MACHINE


@pytest.mark.parametrize(
    ("group", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),  # half of one
        ("0::/\n", {"cpu.max": "max 100000\n"}, PROCESSORS),
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/cpu.max": "70000 100000", "a/b/cpu.max": "max 100000"}, 1),
        (
            "5:cpu,cpuacct:/pod\n4:memory:/\n0::/\n",
            {"cpu/pod/cpu.cfs_quota_us": "90000\n", "cpu/pod/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, PROCESSORS),
        ("", {}, PROCESSORS),
    ],
)
def test_processors_are_the_least_of_quotas_and_machine(
    group: str, files: dict[str, str], count: int, tmp_path: Path
) -> None:
    write_files(tmp_path, group, files)
    assert processors(str(tmp_path)) == count


@pytest.mark.parametrize(
    ("step", "count", "within"),
    [
        ("train_model", 1, "1"),
        ("train_model", 2, "1"),
        ("tune_model", 2, "1"),
        ("evaluate_model", 2, "2"),
        ("train_model", 3, "3"),
        ("transform_features", 16, "16"),
    ],
)
def test_tensorflow_starts_no_more_threads_than_there_are_processors(
    step: str, count: int, within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "processors", lambda: count)
    monkeypatch.setattr(os, "environ", {})
    limit_tensorflow(step)
    assert os.environ == {"TF_NUM_INTEROP_THREADS": str(count), "TF_NUM_INTRAOP_THREADS": within}


def test_threads_that_the_environment_names_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"TF_NUM_INTRAOP_THREADS": "7"})
    limit_tensorflow("train_model")
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "7"
