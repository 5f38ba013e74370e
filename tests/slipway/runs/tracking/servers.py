"""Real MLflow servers, where `.ci/run` made an environment for one: $SLIPWAY_MLFLOW is its `mlflow`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

SECONDS = 150
PROGRAMS = ("initdb", "pg_ctl", "postgres")


@contextmanager
def real_server(backend: str) -> Iterator[str]:
    """The address of an MLflow server that keeps all in a new database."""
    program = os.environ.get("SLIPWAY_MLFLOW")
    if not program:
        pytest.skip("SLIPWAY_MLFLOW is not set: the path of `mlflow` in an environment of its own")
    folder = Path(tempfile.mkdtemp(prefix="slipway-mlflow-"))
    port = _free_port()
    try:
        with _database(backend, folder) as uri:
            arguments, variables = _deployed()
            variables |= {
                "MLFLOW_BACKEND_STORE_URI": uri,
                "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
                "MLFLOW_SERVER_ALLOWED_HOSTS": f"mlflow:5000,127.0.0.1:{port}",
                "HOME": str(folder),
            }
            with (folder / "log").open("w") as log:
                server = subprocess.Popen(
                    [program, "server", *arguments, "--host=127.0.0.1", f"--port={port}"],
                    stdout=log, stderr=log, env=os.environ | variables, cwd=folder, start_new_session=True,
                )  # fmt: skip
            try:
                _wait(server, f"http://127.0.0.1:{port}", folder / "log")
                yield f"http://127.0.0.1:{port}"
            finally:
                os.killpg(server.pid, 15)
                server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _deployed() -> tuple[list[str], dict[str, str]]:
    """Arguments and variables of the server as manifests/ runs it."""
    path = Path(__file__).parents[4] / "manifests" / "mlflow" / "base" / "deployment.yaml"
    [container] = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]["containers"]
    return container["args"], {each["name"]: each["value"] for each in container["env"]}


@contextmanager
def _database(backend: str, folder: Path) -> Iterator[str]:
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'mlflow.db'}"
        return
    found = {name: _program(name) for name in PROGRAMS}
    if missing := [name for name, path in found.items() if path is None]:
        pytest.skip(f"PostgreSQL is not at hand: there is no {', '.join(missing)}")
    # initdb refuses root.
    user = "nobody" if os.getuid() == 0 else None
    data, port = folder / "data", _free_port()
    data.mkdir()
    if user:
        folder.chmod(0o755)
        shutil.chown(data, user)
    own = {"user": user, "check": True, "stdout": subprocess.DEVNULL, "cwd": data}
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    subprocess.run([str(found["initdb"]), "-D", str(data), "-U", "mlflow", "-A", "trust"], **own)  # type: ignore[call-overload]
    start = [str(found["pg_ctl"]), "-D", str(data), "-l", str(data / "log"), "-w", "-o", settings, "start"]
    subprocess.run(start, **own)  # type: ignore[call-overload]
    try:
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([str(found["pg_ctl"]), "-D", str(data), "-m", "immediate", "stop"], **own)  # type: ignore[call-overload]


def _program(name: str) -> str | None:
    debian = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian]))


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
