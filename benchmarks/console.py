"""How soon the console's pages begin, with 1,000 runs and 200 versions, on this machine and on gs://.

The store is an emulator on this machine, so what a real bucket's distance adds to the first look is not in the numbers;
later pages do not ask it.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.registry import Locations
from pipelines.training import TRAINING
from slipway.lineage import Lineage
from slipway.runs.record import Rows, Summary
from slipway.runs.store import SUMMARY
from slipway.stores import storage
from slipway.stores.model_store import Provenance, open_store
from tests.fakes.storage_server import StorageServer

HEADER = ("state", "first start ms", "started again ms", "warm ms, median", "warm ms, 95 %", "100 at once ms, 95 %")
RUNS, VERSIONS, ASKED, AT_ONCE = 1_000, 200, 100, 100
STARTED, DATA = 1_750_000_000.0, "gs://bucket/trips.csv"
PAGES = ("/runs", "/runs?q=cash", "/runs?sort=auc&page=7", "/runs?q=auc+%3E+0.9", "/models")


def measure_pages(work: Path) -> Iterator[tuple[str, ...]]:
    """A row for this machine, and one for gs://."""
    home = work / "console"
    write_runs(Locations.under(str(home)), RUNS)
    push_versions(Locations.under(str(home)), home)
    yield "this machine", *measure(home, "")
    with StorageServer() as server:
        remote = server.uri("home").replace("retry_limit_seconds=2", "retry_limit_seconds=60")
        storage.copy_folder(str(home / "runs"), storage.join(remote, "runs"))
        storage.copy_folder(str(home / "models"), storage.join(remote, "models"))
        yield "gs://", *measure(work / "empty", remote)


def measure(home: Path, remote: str) -> Iterator[str]:
    """First byte of the first page after a start, without and with the index, then of pages, then of many at once."""
    with console(home, remote) as (address, _):
        yield f"{first_byte(address, '/runs'):.0f}"
        while b"still being read" in body_of(address, "/runs"):
            time.sleep(0.5)
    with console(home, remote) as (address, _):
        yield f"{first_byte(address, '/runs'):.0f}"
        time.sleep(3)
        warm = [first_byte(address, PAGES[number % len(PAGES)]) for number in range(ASKED)]
        yield f"{statistics.median(warm):.0f}"
        yield f"{statistics.quantiles(warm, n=20)[-1]:.0f}"
        with ThreadPoolExecutor(AT_ONCE) as people:
            crowd = list(people.map(lambda number: first_byte(address, PAGES[number % len(PAGES)]), range(AT_ONCE)))
        yield f"{statistics.quantiles(crowd, n=20)[-1]:.0f}"


def write_runs(state: Locations, count: int) -> None:
    """Runs as they end on a cluster."""
    for number in range(count):
        name = f"taxi-{number:04}"
        lineage = Lineage(run=name, module="taxi", module_digest="ab" * 32, data_uri=DATA, target="vertex",
                          started=STARTED + 3600 * number, seed=number, shows=TRAINING.shows)  # fmt: skip
        pushed = number % 5 == 0
        metrics: dict[str, float | None] = {"auc": 0.8 + number / 10_000, "log_loss": 0.2, "accuracy": 0.9}
        summary = Summary(
            lineage=lineage, state="succeeded", rows=Rows(read=14_169), metrics=metrics,
            verdict="pushed" if pushed else "refused", reasons=["auc on payment_type=Cash is below 0.93"],
            pushed_version=number + 1 if pushed else None, finished=lineage.started + 90,
        )  # fmt: skip
        storage.write_text(storage.join(state.runs, name, SUMMARY), summary.model_dump_json())


def push_versions(state: Locations, home: Path) -> None:
    """Versions of one model."""
    store, model = open_store(state.store), home / "model"
    storage.write_bytes(str(model / "saved_model.pb"), b"x")
    for number in range(VERSIONS):
        storage.write_bytes(str(model / "saved_model.pb"), str(number).encode())
        lineage = Lineage(
            run=f"taxi-{number:04}", module="taxi", module_digest="ab" * 32, data_uri="gs://bucket/trips.csv"
        )
        store.push(model, Provenance(model="taxi", lineage=lineage, metrics={"auc": 0.9}))


@contextmanager
def console(home: Path, remote: str) -> Iterator[tuple[str, int]]:
    """`slipway ui` on a state; its address, and the id of its process."""
    environment = os.environ | {"SLIPWAY_HOME": str(home), "SLIPWAY_REMOTE_HOME": remote}
    command = [sys.executable, "-m", "cli.main", "ui", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().split()[0], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def first_byte(address: str, path: str) -> float:
    """Milliseconds from the request to the first byte of the answer."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=120)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    took = 1000 * (time.perf_counter() - began)
    answer.read()
    connection.close()
    assert answer.status == 200, (path, answer.status)
    return took


def body_of(address: str, path: str) -> bytes:
    """A page."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=120)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body
