"""A real Flink cluster on loopback: a job manager, two task managers, Beam's job server and a pool of workers.

The processes are those that Flink's scripts start (`StandaloneSessionClusterEntrypoint`, `TaskManagerRunner`), with the
sizes that the scripts would compute. The pool stands for the container beside each task manager: docs/beam.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

TASK_MANAGERS = 2
START_SECONDS = 300
_CONFIG = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: 2
taskmanager.cpu.cores: 1.0
taskmanager.memory.task.heap.size: 768m
taskmanager.memory.task.off-heap.size: 64m
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.network.min: 512m
taskmanager.memory.network.max: 512m
taskmanager.memory.managed.size: 256m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 128m
taskmanager.memory.jvm-overhead.max: 128m
cluster.evenly-spread-out-slots: true
classloader.resolve-order: parent-first
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 2 s
heartbeat.interval: 2000
heartbeat.timeout: 120000
pekko.ask.timeout: 120 s
web.timeout: 120000
io.tmp.dirs: {folder}/tmp
"""
# What bin/config.sh of Flink gives Java 17.
_OPENED = ("lang", "lang.reflect", "io", "net", "nio", "text", "time", "util", "util.concurrent",
           "util.concurrent.atomic", "util.concurrent.locks")  # fmt: skip
_JAVA = [
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED),
]


@dataclass(frozen=True)
class Cluster:
    """A running cluster; `task_managers` are the processes, for a test that kills one."""

    rest: str
    job_endpoint: str
    worker_pool: str
    task_managers: list[subprocess.Popen[bytes]]

    def overview(self) -> dict[str, Any]:
        """What the job manager says of the cluster: `flink-version`, `taskmanagers`, and more."""
        found: dict[str, Any] = httpx.get(f"{self.rest}/overview", timeout=30).json()
        return found

    def jobs(self) -> list[str]:
        """States of all jobs, the newest last."""
        found = httpx.get(f"{self.rest}/jobs/overview", timeout=30).json()["jobs"]
        return [job["state"] for job in sorted(found, key=lambda job: job["start-time"])]

    def restarts(self) -> list[str]:
        """What the newest job was restarted for."""
        found = httpx.get(f"{self.rest}/jobs/overview", timeout=30).json()["jobs"]
        newest = max(found, key=lambda job: job["start-time"])
        told = httpx.get(f"{self.rest}/jobs/{newest['jid']}/exceptions", timeout=30).json()
        return [one["exceptionName"] for one in told["exceptionHistory"]["entries"]]


@contextmanager
def flink_cluster(jars: Path, folder: Path) -> Iterator[Cluster]:
    """Starts all processes with the folder as their own, which keeps their logs, and ends them and their workers."""
    rpc, rest, jobs, artifacts, expansion, pool = _free_ports(6)
    (folder / "tmp").mkdir(parents=True)
    (folder / "config.yaml").write_text(_CONFIG.format(rpc=rpc, rest=rest, folder=folder))
    java = ["java", "-Xmx1g", "-XX:MaxDirectMemorySize=1g", *_JAVA, "-cp", f"{jars}/*"]
    flink, its = "org.apache.flink.runtime", ["--configDir", str(folder)]
    server = {"flink-master": f"127.0.0.1:{rest}", "flink-conf-dir": folder, "job-host": "127.0.0.1", "job-port": jobs,
              "artifact-port": artifacts, "expansion-port": expansion, "artifacts-dir": folder / "staged"}  # fmt: skip
    processes: list[subprocess.Popen[bytes]] = []
    # SIGTERM would end pytest at once; as Ctrl-C it leaves the tests, and this block, as an error does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def start(name: str, *command: str) -> subprocess.Popen[bytes]:
        bin_folder = str(Path(sys.executable).parent)
        path = os.pathsep.join([bin_folder, os.environ["PATH"]])  # the pool starts `python` of PATH
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "PATH": path}, cwd=folder, start_new_session=True
            )
        processes.append(process)
        return process

    try:
        start("job-manager", *java, f"{flink}.entrypoint.StandaloneSessionClusterEntrypoint", *its)
        managers = [
            start(f"task-manager-{number}", *java, f"{flink}.taskexecutor.TaskManagerRunner", *its)
            for number in range(TASK_MANAGERS)
        ]
        given = [f"--{name}={value}" for name, value in server.items()]
        start("job-server", *java, "org.apache.beam.runners.flink.FlinkJobServerDriver", *given)
        start("pool", sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}")
        cluster = Cluster(f"http://127.0.0.1:{rest}", f"127.0.0.1:{jobs}", f"127.0.0.1:{pool}", managers)
        _await(cluster, (jobs, pool), folder)
        yield cluster
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the pool's workers, too: it leaves them when it is ended
        for process in processes:
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _await(cluster: Cluster, ports: tuple[int, ...], folder: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            if cluster.overview()["taskmanagers"] == TASK_MANAGERS:
                for port in ports:
                    socket.create_connection(("127.0.0.1", port), 5).close()
                return
        except (httpx.HTTPError, OSError, KeyError):  # KeyError: its answer says that it starts
            pass
        time.sleep(0.5)
    raise TimeoutError(f"no cluster after {START_SECONDS} s: the logs are in {folder}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
