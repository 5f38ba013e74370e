"""Whether a process still runs, or another one got its number."""

import os
from pathlib import Path


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine booted; None if it ended, or there is no /proc.

    Field 22 of `/proc/<pid>/stat`: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name, in parentheses, and may hold spaces and parentheses itself.
    return int(stat.rpartition(")")[2].split()[19])


def is_alive(pid: int, started: int | None) -> bool:
    """Whether a process runs. `started` is its `start_time`; a later process with the same number does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, but is another user's
    return started is None or start_time(pid) == started
