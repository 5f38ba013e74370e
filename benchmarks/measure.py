"""Runs a command to its end and says what it cost.

As a program it is the small process that starts the command: Linux keeps the peak memory of a process over `exec`, so a
command that a large process started would seem as large.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Of a command and all processes that it waited for; memory is that of the largest single process."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    with tempfile.NamedTemporaryFile() as costs:
        ended = subprocess.run(
            [sys.executable, "-S", __file__, costs.name, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}")
        return Cost(**json.load(costs), output=ended.stdout)


def _run(costs: str, command: Sequence[str]) -> int:
    started = time.monotonic()
    with subprocess.Popen(command) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cost = {
        "wall_seconds": time.monotonic() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    Path(costs).write_text(json.dumps(cost), encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
