"""Runs a pipeline on this machine with kfp.local.

kfp.local (2.17) runs and caches tasks, but reports no progress, mixes all logs and names no cause of a failure. It has
no hooks, so three of its functions are replaced for the time of a run: the one that executes a task, to follow states,
the one that starts a process, to give each step a log file and a warm process, and the one that replaces `python3` in a
step's command, to leave alone the paths of data that hold that word.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from components import needs_tensorflow
from delivery.launch import RunRequest
from delivery.package import edges, spec_of, step_name
from delivery.targets.base import OnChange
from delivery.targets.step_process import StepProcesses
from slipway.runs.process import start_time
from slipway.runs.record import RunContext, Step, StepsFile
from slipway.runs.states import LOCAL_STEPS
from slipway.stores.storage import write_text

LOG_TAIL_LINES = 15
_GPUS, _WINDOWS = Path("/proc/driver/nvidia/gpus"), Path("/dev/dxg")
_ROOMS = ("components", "serving", "slipway")


def gpus() -> list[str]:
    """NVIDIA's GPUs of this machine, by the driver's names; under Windows one name stands for all."""
    return [path.name for path in (*sorted(_GPUS.glob("*")), _WINDOWS) if path.exists()]


def local_image(project: Path, lock: Path) -> str:
    """The image reference of this checkout, on which kfp's cache is keyed.

    Its digest covers the content of an image, code and locked dependencies, so that an edit to either misses the cache;
    and the GPUs, whose numbers are others than a CPU's.
    """
    digest = hashlib.sha256(lock.read_bytes() if lock.is_file() else b"")
    digest.update("".join(gpus()).encode())
    for room in _ROOMS:
        for path in sorted((project / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(project)}\0".encode() + path.read_bytes() + b"\0")
    return f"slipway-python@sha256:{digest.hexdigest()}"


def run_local(
    request: RunRequest,
    home: Path,
    on_change: OnChange,
    *,
    cached: bool = True,
    processes: StepProcesses | None = None,
) -> StepsFile:
    """Runs the pipeline to its end; failed steps are in the result, not raised.

    `home` is for artifacts and cache; `on_change` is called with all steps whenever one changes its state.
    Without `cached`, every step is executed. `processes` are those that the caller has started already; they
    end with the run.
    """
    from kfp import local

    from pipelines.platform import TaskDefaults
    from pipelines.registry import find_pipeline

    run_folder = Path(RunContext.model_validate_json(request.arguments["run"]).uri)
    (run_folder / "logs").mkdir(parents=True)
    pipeline = find_pipeline(request.lineage.pipeline).build(
        TaskDefaults(image=request.lineage.image, cached=cached), request.arguments
    )
    record = _Record(request, run_folder, edges(spec_of(pipeline)), on_change)
    with (
        (run_folder / "logs" / "kfp.log").open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        warnings.catch_warnings(),
        processes or StepProcesses() as running,
        record.following_kfp(running),
    ):
        warnings.simplefilter("ignore")  # resources and display names mean nothing here, as kfp says for each task
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(home / "artifacts"),
            cache_root=str(home / "cache"),
            enable_caching=True,
            raise_on_error=False,
        )
        pipeline()
    return record.finish()


class _Record:
    """Follows kfp.local through a run and keeps `steps.json` up to date."""

    def __init__(self, request: RunRequest, folder: Path, graph: dict[str, list[str]], on_change: OnChange) -> None:
        self._folder = folder
        self._on_change = on_change
        self._steps = {name: Step(name=name, needs=needs) for name, needs in graph.items()}
        pid = os.getpid()
        steps = list(self._steps.values())
        self._file = StepsFile(lineage=request.lineage, pid=pid, pid_started=start_time(pid), steps=steps)
        self._current = ""
        self._cacheable = False
        self._changed()

    @contextlib.contextmanager
    def following_kfp(self, processes: StepProcesses) -> Iterator[None]:
        from kfp.local import subprocess_task_handler
        from kfp.local.orchestrator import task_executor

        execute_task = task_executor.execute_single_task

        def execute(**arguments: Any) -> tuple[dict[str, Any], Any]:
            step = self._start(step_name(arguments["task_name"]))
            self._cacheable = arguments["task_spec"].caching_options.enable_cache
            outputs, status = execute_task(**arguments)
            state = LOCAL_STEPS.get(status.name, "unknown")
            folder = Path(arguments["pipeline_root"], arguments["pipeline_resource_name"], arguments["task_name"])
            step.outputs = {name: getattr(value, "uri", value) for name, value in outputs.items()}
            step.artifacts = _artifacts(outputs) if state == "succeeded" else _written(folder)
            self._end(step, succeeded=state == "succeeded")
            return outputs, status

        def start_process(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
            step = self._steps[self._current]
            step.cached = False
            if self._cacheable and any(map(needs_tensorflow, self._steps)):
                processes.warm_up(tensorflow=True)  # this step was not in the cache, so the next ones will not be
            ended = processes.run(
                step.name,
                full_command,
                env_vars or {},
                Path(step.log or ""),
                tensorflow=needs_tensorflow(full_command[full_command.index("--function_to_execute") + 1]),
            )
            step.peak_mib, step.cpu_seconds = round(ended.peak_mib, 1), round(ended.cpu_seconds, 3)
            if ended.exit_code < 0:
                step.error = f"killed by {signal.Signals(-ended.exit_code).name}"
            return ended.exit_code

        with (
            mock.patch.object(task_executor, "execute_single_task", execute),
            mock.patch.object(subprocess_task_handler, "run_local_subprocess", start_process),
            mock.patch.object(subprocess_task_handler, "replace_python_executable", lambda command, _: command),
        ):
            yield

    def finish(self) -> StepsFile:
        """Marks the steps that never ran."""
        for step in self._steps.values():
            if step.state == "pending":
                step.state = "skipped"
        self._file.finished = time.time()
        self._changed()
        return self._file

    def _start(self, name: str) -> Step:
        step = self._steps[name]
        step.state, step.started, step.cached = "running", time.time(), True
        step.log = str(self._folder / "logs" / f"{name}.log")
        self._current = name
        self._changed()
        return step

    def _end(self, step: Step, *, succeeded: bool) -> None:
        step.seconds = round(time.time() - (step.started or 0), 3)
        step.state = "succeeded" if succeeded else "failed"
        if step.cached:
            step.log = None
        if not succeeded:
            step.cached = False
            step.error = "\n".join(filter(None, [step.error, last_words(Path(step.log or ""))]))
        self._changed()

    def _changed(self) -> None:
        write_text(str(self._folder / "steps.json"), self._file.model_dump_json(indent=1))
        self._on_change(self._file.steps)


def _artifacts(outputs: dict[str, Any]) -> dict[str, str]:
    """URIs of a step's artifacts, but for those that only a UI shows."""
    from kfp import dsl

    shown = (dsl.HTML, dsl.Markdown, dsl.Metrics, dsl.ClassificationMetrics)
    return {
        name: value.uri
        for name, value in outputs.items()
        if isinstance(value, dsl.Artifact) and not isinstance(value, shown)
    }


def _written(folder: Path) -> dict[str, str]:
    """Artifacts that a failed step wrote before it failed: kfp reports no outputs then."""
    return {path.name: str(path) for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}


def last_words(log: Path) -> str:
    """Why a step failed, from its log: the message of one of our errors alone, else the log's last lines."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("slipway.errors."):
            return "\n".join([lines[number].partition(": ")[2], *lines[number + 1 :]])
    return "\n".join(lines[-LOG_TAIL_LINES:])
