"""`python -m benchmarks.request_log --model SAVED_MODEL`: what the request log costs a prediction.

The local server with the log built in, and behind the sidecar, which is one hop more. `stalled` is a gs:// store that
takes connections and never answers. Eight closed-loop clients run on the same machine; the machine should be idle.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving import BIN, load, slipway

HEADER = ("log, sample", "batch", "gRPC/s", "p50 ms", "p99 ms", "REST/s", "p50 ms", "p99 ms", "waiting MiB", "dropped")
Addresses = dict[str, str]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel with golden requests")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 64])
    arguments = parser.parse_args()
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    for batch in arguments.batch:
        for line in compare(arguments.model, batch, arguments.seconds):
            print("| " + " | ".join(line) + " |", flush=True)


def compare(model: Path, batch: int, seconds: float) -> Iterator[tuple[str, ...]]:
    """The lines of the table; see `HEADER`."""
    with tempfile.TemporaryDirectory(prefix="slipway-request-log-") as folder, stalled_store() as stalled:
        base, sink = Path(folder) / "models", f"{folder}/log"
        base.mkdir()
        (base / "1").symlink_to(model.absolute())
        sinks = {"1.0": (sink, "1.0"), "0.1": (sink, "0.1"), "1.0, stalled": (stalled, "1.0")}
        with slipway(base) as server:
            yield _measured("none", server.addresses, "", model, batch, seconds)
        for name, (uri, sample) in sinks.items():
            options = (f"--request-log={uri}", f"--request-log-sample={sample}", "--request-log-fields=*")
            with slipway(base, *options) as server:
                page = f"http://{server.addresses['rest']}/monitoring/prometheus/metrics"
                yield _measured(f"built in, {name}", server.addresses, page, model, batch, seconds)
        for name, (uri, sample) in {"0": (sink, "0"), **sinks}.items():
            with slipway(base) as server, sidecar(server.addresses, uri, sample) as (addresses, page):
                yield _measured(f"sidecar, {name}", addresses, page, model, batch, seconds)


@contextmanager
def sidecar(upstream: Addresses, sink: str, sample: str) -> Iterator[tuple[Addresses, str]]:
    """`slipway request-log run` on free ports: its addresses and its page of metrics."""
    command = [
        str(BIN / "slipway"), "request-log", "run",
        "--host=127.0.0.1", "--rest-port=0", "--grpc-port=0", "--metrics-port=0",
        f"--upstream-rest={upstream['rest']}", f"--upstream-grpc={upstream['grpc']}",
        f"--sink={sink}", f"--sample={sample}", "--fields=*",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        addresses = {}
        for _ in ("gRPC", "REST"):
            protocol, address, *_ = process.stdout.readline().split()
            addresses[protocol.lower()] = address
        port = re.search(r"port (\d+)", process.stdout.readline())
        assert port
        try:
            yield addresses, f"http://127.0.0.1:{port[1]}/metrics"
        finally:
            process.terminate()


@contextmanager
def stalled_store() -> Iterator[str]:
    """The URI of a store that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield f"gs://anonymous@bucket/log?scheme=http&endpoint_override=127.0.0.1:{port}&retry_limit_seconds=2"


def _measured(name: str, addresses: Addresses, page: str, model: Path, batch: int, seconds: float) -> tuple[str, ...]:
    cells = [name, str(batch)]
    for protocol in ("grpc", "rest"):
        measured = load(protocol, addresses[protocol], model, batch, seconds)
        cells += [f"{measured['requests_per_second']:,.0f}", f"{measured['p50_ms']:.1f}", f"{measured['p99_ms']:.1f}"]
    waiting, dropped = (_metric(page, f"slipway_request_log_{name}") for name in ("waiting_bytes", "dropped_total"))
    return (*cells, f"{waiting / (1 << 20):.1f}", f"{dropped:,.0f}")


def _metric(page: str, name: str) -> float:
    """A metric, over all reasons."""
    if not page:
        return 0.0
    with urllib.request.urlopen(page) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
