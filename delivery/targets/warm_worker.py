"""A process that imports what steps need once, and forks itself for each step.

Importing TensorFlow takes longer than most steps' work. A forked step starts with everything imported and still has a
process, an environment and a log of its own. Forking before TensorFlow has started any of its thread pools is safe;
nothing here may run an operation.

Run as `python -m delivery.targets.warm_worker MODULE…`. Each line on standard input is a JSON object with `source`
(the component's code), `arguments` (of kfp's executor), `environment` and `log`; each line on standard output is the
step's exit code, its peak resident memory in KiB and its CPU seconds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # linux/prctl.h


def main() -> None:
    """Imports, then serves steps until standard input ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # numpy's idle thread pool makes Python 3.12 warn at every fork; OpenBLAS restores it in the child by itself.
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
    importlib.import_module("kfp.dsl.executor_main")
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        step = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_run(step))
        _, status, usage = os.wait4(pid, 0)
        print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime, flush=True)


def _run(step: dict[str, Any]) -> int:
    """The step's exit code. Its output goes to its log, from the file descriptors up, so that C++ logs do too."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(PR_SET_NAME, step["name"].encode()[:15])
    log = os.open(step["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.environ.update(step["environment"])
    try:
        _execute(step["source"], step["arguments"])
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _execute(source: str, arguments: list[str]) -> None:
    from kfp.dsl.executor_main import executor_main

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ephemeral_component.py"
        path.write_text(source, encoding="utf-8")
        sys.argv = ["kfp", "--component_module_path", str(path), *arguments]
        executor_main()


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
