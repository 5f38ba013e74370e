"""Runs a pipeline with a cluster's places, its steps forked as a laptop does it.

Artifacts are on paths of this machine, all that outlives the run is on s3://.

A program, so that a test can kill it: python -m tests.e2e.steps_on_s3 PIPELINE MODULE FOLDER DATA HOME LOG CHANGES
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

from components import needs_tensorflow
from delivery.launch import request_run
from delivery.overrides import override_module
from delivery.targets.step_process import StepProcesses
from pipelines.platform import TaskDefaults
from pipelines.registry import Locations, Platform, find_pipeline
from slipway.module_kit.check import check_module


def main(pipeline: str, module: str, folder: str, data: str, home: str, log: str, changes: str) -> None:
    """Runs it to its end, and prints the run's name last."""
    from kfp import local
    from kfp.local import subprocess_task_handler

    def start(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        name = full_command[full_command.index("--function_to_execute") + 1]
        its_log = Path(logs, f"{name}.log")
        ended = steps.run(name, full_command, env_vars or {}, its_log, tensorflow=needs_tensorflow(name))
        print(its_log.read_text(errors="replace"))
        return ended.exit_code

    config = override_module(check_module(Path(module)), json.loads(changes))
    platform = Platform("local", "slipway@sha256:0", request_log=log)
    request = request_run(Path(module), config, data, Locations.under(home), platform, pipeline=pipeline)
    build = find_pipeline(pipeline).build(TaskDefaults(platform.image), request.arguments)
    local.init(
        local.SubprocessRunner(use_venv=False), pipeline_root=folder, cache_root=f"{folder}/cache", enable_caching=True
    )
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as logs,
        StepProcesses() as steps,  # a process that imports TensorFlow for itself, for each step, takes twice as long
        mock.patch.object(subprocess_task_handler, "run_local_subprocess", start),
    ):
        warnings.simplefilter("ignore")  # resources and display names mean nothing here, as kfp says for each task
        build()
    print(request.lineage.run)


if __name__ == "__main__":
    main(*sys.argv[1:])
