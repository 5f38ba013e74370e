"""Beam's portable road on loopback: its job service in Python, and a pool that starts workers as other processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 60


@contextmanager
def job_service(folder: Path, boot: str = "", temp_location: str = "") -> Iterator[dict[str, str]]:
    """The parameter `beam` of a step that runs there, with its flags in the folder, as delivery/beam.py writes them.

    What Beam and TensorFlow Transform write meanwhile is in the folder, too, unless `temp_location` is given.

    With `boot`, a path of Beam's boot program, the pool starts workers by the contract of Beam's containers: the
    program asks the job service's provisioning for options and staged files.
    """
    jobs, pool = (_free_port() for _ in range(2))
    bin_folder = str(Path(sys.executable).parent)
    its = {
        **os.environ,
        "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]]),  # the pool starts `python` of PATH
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",  # as in the image
    }
    commands = [
        ["apache_beam.runners.portability.local_job_service_main", f"--port={jobs}", f"--staging_dir={folder}/staged"],
        [
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={pool}",
            *([f"--container_executable={boot}"] if boot else []),
        ],
    ]
    flags = {"job_endpoint": f"localhost:{jobs}", "environment_type": "EXTERNAL",
             "environment_config": f"localhost:{pool}", "temp_location": temp_location or folder / "temp"}  # fmt: skip
    (folder / "flags.json").write_text(json.dumps([f"--{name}={value}" for name, value in flags.items()]))
    with (folder / "job_service.log").open("wb") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", *command], env=its, stdout=log, stderr=log) for command in commands
        ]
    try:
        for port in (jobs, pool):
            _await(port)
        yield {"runner": "portable", "flags_uri": str(folder / "flags.json")}
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def _await(port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("localhost", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])
