"""`python -m benchmarks.serving --model SAVED_MODEL`: the model server beside the same model in Flask and gunicorn.

Eight closed-loop clients run on the same machine, in a process of their own. The machine should be idle.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.load import MODEL

BIN = Path(sys.executable).parent
HEADER = ("server", "protocol", "batch", "requests/s", "rows/s", "p50 ms", "p99 ms", "ready s", "RSS MiB")

# What `benchmarks.load` sends, by its name for it: serialized tf.Examples, or named tensors.
PROTOCOLS = {
    "grpc": "gRPC, examples",
    "rest": "REST, examples",
    "rest-rows": "REST, rows",
    "rest-columns": "REST, columns",
    "flask": "REST, examples",
}


@dataclass(frozen=True)
class Running:
    """A server that answers; `addresses` by protocol."""

    name: str
    addresses: dict[str, str]
    ready_seconds: float
    process: psutil.Process

    @property
    def rss_mib(self) -> float:
        """Of the process and its children."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in family) / (1 << 20)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel with golden requests")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    arguments = parser.parse_args()
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    for line in compare(arguments.model, arguments.seconds):
        print("| " + " | ".join(line) + " |", flush=True)


def compare(model: Path, seconds: float) -> Iterator[tuple[str, ...]]:
    """The lines of the table; see `HEADER`."""
    with tempfile.TemporaryDirectory(prefix="slipway-serving-") as folder:
        (Path(folder) / "1").symlink_to(model.absolute())
        for start in (slipway(Path(folder)), flask(model)):
            with start as server:
                for protocol in PROTOCOLS:
                    address = server.addresses.get(protocol.partition("-")[0], "")
                    for batch in (1, 64) if address else ():
                        yield _line(server, protocol, batch, load(protocol, address, model, batch, seconds))


def load(protocol: str, address: str, model: Path, batch: int, seconds: float) -> dict[str, float]:
    """What eight clients measure."""
    command = [sys.executable, "-m", "benchmarks.load", protocol, address, str(model)]
    done = subprocess.run(
        [*command, "--batch", str(batch), "--seconds", str(seconds)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the clients failed:\n{done.stderr}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@contextmanager
def slipway(base_path: Path, *options: str) -> Iterator[Running]:
    """`slipway serve` on free ports; ready when it prints the last line of its greeting."""
    command = [str(BIN / "slipway"), "serve", f"--model_name={MODEL}", f"--model_base_path={base_path}"]
    started = time.monotonic()
    with _process([*command, "--port=0", "--rest_api_port=0", *options]) as process:
        addresses = {}
        assert process.stdout
        for line in process.stdout:
            if line.startswith(("gRPC", "REST")):
                protocol, address = line.split()
                addresses[protocol.lower()] = address.removeprefix("http://")
            if line.startswith("For laptops"):
                break
        yield Running("slipway serve", addresses, time.monotonic() - started, psutil.Process(process.pid))


@contextmanager
def flask(model: Path) -> Iterator[Running]:
    """The Flask app behind gunicorn, a worker for each core; ready when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    workers = os.cpu_count() or 1
    command = [str(BIN / "gunicorn"), "--bind", address, "--workers", str(workers), "--log-level", "error"]
    started = time.monotonic()
    environment = {"MODEL_PATH": str(model), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with _process([*command, "--keep-alive", "60", "benchmarks.flask_app:app"], environment) as process:
        while not _answers(address):
            if process.poll() is not None or time.monotonic() - started > 120:
                raise RuntimeError("gunicorn does not start")
            time.sleep(0.05)
        name = f"Flask, gunicorn ({workers} workers)"
        yield Running(name, {"flask": address}, time.monotonic() - started, psutil.Process(process.pid))


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", "/predict", '{"instances": [{"b64": ""}]}', {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _line(server: Running, protocol: str, batch: int, measured: dict[str, float]) -> tuple[str, ...]:
    return (
        server.name,
        PROTOCOLS[protocol],
        str(batch),
        f"{measured['requests_per_second']:,.0f}",
        f"{measured['rows_per_second']:,.0f}",
        f"{measured['p50_ms']:.1f}",
        f"{measured['p99_ms']:.1f}",
        f"{server.ready_seconds:.1f}",
        f"{server.rss_mib:.0f}",
    )


if __name__ == "__main__":
    main()
