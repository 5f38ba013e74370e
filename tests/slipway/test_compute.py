"""The memory that a process may use, by the files that Linux shows."""

import os
from pathlib import Path

import pytest

from slipway.compute import memory_limit

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
    written = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/self/cgroup": group, **written}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert memory_limit(str(tmp_path)) == limit


def test_memory_limit_of_a_system_without_groups_is_the_machine(tmp_path: Path) -> None:
    assert memory_limit(str(tmp_path)) == MACHINE
