"""Runs one step's command with its own log file: forked from a warm worker on Linux, a new process elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

# Imported beforehand by the worker of the steps that need TensorFlow.
_TENSORFLOW = ["tensorflow", "tensorflow_transform.beam", "keras"]
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "_KFP_RUNTIME": "true",  # kfp then leaves out its client: 1 s less for each process
}


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
        for worker in self._workers.values():
            worker.stop()

    def warm_up(self, *, tensorflow: bool) -> None:
        """Starts the imports of the coming steps in the background."""
        if sys.platform == "linux" and tensorflow not in self._workers:
            self._workers[tensorflow] = _WarmWorker(_TENSORFLOW if tensorflow else [])

    def run(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, *, tensorflow: bool = False
    ) -> Ended:
        """Runs a step to its end.

        Args:
            name: The component's function.
            command: kfp's: `sh -c SCRIPT SOURCE ARGUMENT…`.
            environment: Variables to add.
            log: File to append standard output and error to.
            tensorflow: Whether the step imports TensorFlow.
        """
        self.warm_up(tensorflow=tensorflow)
        if tensorflow in self._workers:
            return self._workers[tensorflow].run(name, command, environment, log)
        source, arguments = _parts(command)
        with log.open("ab") as output, tempfile.TemporaryDirectory() as folder:
            component = Path(folder) / "ephemeral_component.py"
            component.write_text(source, encoding="utf-8")
            # Not kfp's own shell script: it breaks where the interpreter's path has a space in it.
            executor = [sys.executable, "-m", "kfp.dsl.executor_main", "--component_module_path", str(component)]
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


def _parts(command: list[str]) -> tuple[str, list[str]]:
    """The component's source and the executor's arguments in kfp's command."""
    source = next(index for index, part in enumerate(command) if "ephemeral_component.py" in part) + 1
    return command[source], command[source + 1 :]


class _WarmWorker:
    def __init__(self, preload: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "delivery.targets.warm_worker", *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            text=True,
        )

    def run(self, name: str, command: list[str], environment: Mapping[str, str], log: Path) -> Ended:
        assert self._process.stdin
        assert self._process.stdout
        source, arguments = _parts(command)
        step = {
            "name": name,
            "source": source,
            "arguments": arguments,
            "environment": dict(environment),
            "log": str(log),
        }
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that runs {name} ended with exit code {self._process.wait()}; see {log}")
        code, kib, seconds = answer.split()
        return Ended(int(code), int(kib) / 1024, float(seconds))

    def stop(self) -> None:
        # Nothing of a finished run is left in a worker: killing it saves TensorFlow's slow exit.
        self._process.kill()
        self._process.communicate()
