"""Runs one step's command with its own log file: forked from a warm worker on Linux, a new process elsewhere.

A worker imports what steps need once, and forks itself for each: importing TensorFlow takes longer than most steps.
A fork has a process, an environment and a log of its own. It is safe before TensorFlow has started any of its thread
pools, so nothing in a worker may run an operation.

A worker is `python -P -m delivery.targets.step_process MODULE…`: without -P it would import the code of the folder that
the command was started in, if that is another checkout. Each line on its standard input is a JSON object with
`source` (the component's code), `arguments` (of kfp's executor), `environment` and `log`; each line on its standard
output is the step's exit code, its peak resident memory in KiB and its CPU seconds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from slipway.limits import limit_tensorflow

# Each worker imports these: steps that are never cached, and the report, need them. That of the steps with TensorFlow
# imports it, too.
_ALWAYS = (
    "kfp.dsl.executor_main",
    "components.admit_examples.run",
    "components.push_model.run",
    "components.record_run.run",
    "slipway.data.statistics.page",
    "slipway.data.validation.page",
    "slipway.evaluation.page",
)
_TENSORFLOW = ["tensorflow", "tensorflow_transform.beam", "keras"]
# Keras imports these if they are there, for notebooks and for wrappers that no step uses: a quarter of all imports.
_LEFT_OUT = ("IPython", "sklearn")
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "_KFP_RUNTIME": "true",  # kfp then leaves out its client: 1 s less for each process
}
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # linux/prctl.h


class Ended(NamedTuple):
    """End of a step's process: exit code (negative for a signal) and resources used."""

    exit_code: int
    peak_mib: float
    cpu_seconds: float


class StepProcesses:
    """The processes of one run. macOS cannot fork TensorFlow safely, so only Linux has warm workers."""

    def __init__(self) -> None:
        self._workers: dict[bool, _WarmWorker] = {}

    def __enter__(self) -> Self:
        self.warm_up(tensorflow=False)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends them all."""
        while self._workers:
            self._workers.popitem()[1].stop()

    def warm_up(self, *, tensorflow: bool) -> None:
        """Starts the imports of the coming steps in the background."""
        if sys.platform == "linux" and tensorflow not in self._workers:
            self._workers[tensorflow] = _WarmWorker(_TENSORFLOW if tensorflow else [])

    def run(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, *, tensorflow: bool = False
    ) -> Ended:
        """Runs a component's function to its end by kfp's command, `sh -c SCRIPT SOURCE ARGUMENT…`.

        Standard output and error are appended to `log`; `tensorflow` says whether the step imports it.
        """
        self.warm_up(tensorflow=tensorflow)
        at = next(index for index, part in enumerate(command) if "ephemeral_component.py" in part) + 1
        source, arguments = command[at], command[at + 1 :]
        if tensorflow in self._workers:
            step = {"name": name, "source": source, "arguments": arguments, "log": str(log)}
            return self._workers[tensorflow].run(step | {"environment": dict(environment)})
        with log.open("ab") as output, tempfile.TemporaryDirectory() as folder:
            component = Path(folder) / "ephemeral_component.py"
            component.write_text(source, encoding="utf-8")
            # Not kfp's own shell script: it breaks where the interpreter's path has a space in it.
            executor = [sys.executable, "-P", "-m", "kfp.dsl.executor_main", "--component_module_path", str(component)]
            process = subprocess.Popen(
                [*executor, *arguments],
                stdout=output,
                stderr=output,
                env={**os.environ, **_ENVIRONMENT, **environment},
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        kib = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss  # bytes on macOS
        return Ended(process.returncode, kib / 1024, usage.ru_utime + usage.ru_stime)


class _WarmWorker:
    def __init__(self, preload: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", "delivery.targets.step_process", *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            text=True,
        )

    def run(self, step: dict[str, Any]) -> Ended:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            ended = self._process.wait()
            raise RuntimeError(f"the process that runs {step['name']} ended with exit code {ended}; see {step['log']}")
        code, kib, seconds = answer.split()
        return Ended(int(code), int(kib) / 1024, float(seconds))

    def stop(self) -> None:
        # Nothing of a finished run is left in a worker: killing it saves TensorFlow's slow exit.
        self._process.kill()
        self._process.communicate()


@contextmanager
def _left_out() -> Iterator[None]:
    """Meanwhile `_LEFT_OUT` cannot be imported; afterwards a module's own code can."""
    absent: dict[str, Any] = dict.fromkeys(_LEFT_OUT)
    sys.modules.update(absent)
    yield
    for name in absent:
        del sys.modules[name]


def _work(modules: list[str]) -> None:
    """A worker: imports, then serves steps until standard input ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # numpy's idle thread pool makes Python 3.12 warn at every fork; OpenBLAS restores it in the child by itself.
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
    with _left_out():
        for name in (*_ALWAYS, *modules):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        step = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_run_step(step))
        _, status, usage = os.wait4(pid, 0)
        print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime, flush=True)


def _run_step(step: dict[str, Any]) -> int:
    """The step's exit code. Its output goes to its log, from the file descriptors up, so that C++ logs do too."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(PR_SET_NAME, step["name"].encode()[:15])
    log = os.open(step["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.environ.update(step["environment"])
    limit_tensorflow(step["name"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ephemeral_component.py"
        path.write_text(step["source"], encoding="utf-8")
        sys.argv = ["kfp", "--component_module_path", str(path), *step["arguments"]]
        try:
            from kfp.dsl.executor_main import executor_main

            executor_main()
        except BaseException:
            traceback.print_exc()  # while the file is there, or the function's own lines would be missing
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    _work(sys.argv[1:])
