"""What commands cost with 1,000 and 10,000 versions and runs and a tenth as many modules, here, on gs:// and on s3://.

Records are written directly, in the form that pushes, runs and deployments give them: to push 10,000 versions takes
longer than to measure them. For buckets requests are counted, a listing as one for each 1,000 names, and the bytes of
the answers. How long they take is a matter of distance, which a store on this machine does not have: its seconds are
those of the emulator.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import console
from benchmarks.buckets import Bucket, GoogleBucket, S3Bucket
from benchmarks.measure import measure
from console.index.kept import Index
from console.index.runs import RunRecords
from delivery.deployments import Deployment, module_unit, record
from delivery.plan.fingerprints import Place, fingerprint, read_modules
from delivery.plan.planner import plan_revision
from pipelines.registry import Locations
from slipway.lineage import Lineage
from slipway.runs.store import list_runs, load_run
from slipway.stores import storage
from slipway.stores.model_store import Manifest, Provenance, State, open_store
from slipway.stores.model_store.manifest import combine, hash_files
from slipway.stores.model_store.state import Event
from slipway.stores.module_store import publish_module
from slipway.targets import DEFAULT_PIPELINE
from tests.delivery.plan.project import FILES, Project
from tests.fakes.s3_server import VARIABLES

HEADER = ("where", "what", "of", "wall ms", "CPU ms", "requests", "MiB")
MEMORY_HEADER = (
    "runs and versions",
    "console MiB",
    "index file MiB",
    "state file MiB",
    "first look ms",
    "warm ms, median",
)
SIZES = (1_000, 10_000)
PROMOTED_EVERY = 5
MODEL = "taxi"
FILES_OF_A_MODEL = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
)
PARTS_OF_A_MODULE = ("module.yaml", "model.py", "preprocessing.py")


def measure_scale(work: Path) -> Iterator[tuple[str, ...]]:
    """A row for each command, number and place."""
    os.environ |= VARIABLES  # of an account on S3
    for size in SIZES:
        home = work / f"scale-{size}"
        write_state(home, size)
        project, modules = write_project(work / f"project-{size}", home, size // 10), size // 10
        # Buckets first: what is measured changes the state.
        with GoogleBucket() as bucket:
            bucket.fill(home, "home")
            yield from _of_state(bucket.uri("home"), size, bucket)
            yield from _of_plan(project, bucket.uri("home"), modules, bucket)
        with S3Bucket() as bucket:  # no plan: it takes moto a look at all objects to list a module's
            bucket.fill(home, "home")
            yield from _of_state(bucket.uri("home"), size, bucket)
        yield from _of_state(str(home), size, None)
        yield from _of_commands(home, size)
        yield from _of_plan(project, str(home), modules, None)
        shutil.rmtree(home)


def measure_console(work: Path) -> Iterator[tuple[str, ...]]:
    """The console's process and what it keeps."""
    for size in SIZES:
        home = work / f"console-{size}"
        write_state(home, size)
        began = time.perf_counter()
        with console.console(home, "") as (address, pid):
            while b"still being read" in console.body_of(address, "/runs"):
                time.sleep(0.2)
            first = 1000 * (time.perf_counter() - began)
            pages = [*console.PAGES, f"/models/{MODEL}"] * 4
            warm = sorted(console.first_byte(address, page) for page in pages)
            status = Path(f"/proc/{pid}/status").read_text()
        [memory] = (int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
        files = (home / "console" / "runs.json", home / "models" / MODEL / ".state.json")
        index, state = (path.stat().st_size / 2**20 for path in files)
        yield (
            f"{size:,}",
            f"{memory:.0f}",
            f"{index:.1f}",
            f"{state:.1f}",
            f"{first:.0f}",
            f"{warm[len(warm) // 2]:.0f}",
        )
        shutil.rmtree(home)


def write_state(home: Path, size: int) -> None:
    """Runs, each of which pushed a version; every fifth version was promoted."""
    state = Locations.under(str(home))
    console.write_runs(state, size)
    write_versions(Path(state.store), size)


def write_versions(root: Path, count: int) -> None:
    """A store with versions as pushes leave them."""
    base, model, first = root / MODEL, root.parent / "model", 1_750_000_000
    for name in FILES_OF_A_MODEL:
        storage.write_bytes(str(model / name), name.encode())
    state = State(model=MODEL)
    stages, history = {}, []
    for number in range(first, first + count):
        folder = base / str(number)
        shutil.copytree(model, folder)
        (folder / "saved_model.pb").write_bytes(str(number).encode())
        files = hash_files(folder)
        lineage = Lineage(run=f"taxi-{number}", module=MODEL, module_digest="ab" * 32, data_uri=console.DATA)
        provenance = Provenance(model=MODEL, lineage=lineage, metrics={"auc": 0.9}, reasons=["auc 0.9 is 0.8 or more"])
        manifest = Manifest(
            **provenance.model_dump(), version=number, created=number, pushed_by="trainer", model_digest=combine(files),
            files=files,
        )  # fmt: skip
        storage.write_text(str(base / ".manifests" / f"{number}.json"), manifest.model_dump_json(indent=1))
        storage.write_text(str(base / ".baselines" / f"{number}.json"), "{}")
        storage.write_text(str(base / ".claims" / str(number)), "trainer")
        done = partial(Event, when=number, version=number, who="trainer", run=lineage.run, model_digest=combine(files))
        history.append(done(action="push", why="passed its gate"))
        stages[number] = "candidate"
        if number % PROMOTED_EVERY == 0:
            history.append(done(action="promote", why="promoted by hand", previous=state.pin))
            stages |= {number: "stable"} | ({state.pin: "retired"} if state.pin else {})
            state = state.model_copy(update={"pin": number})
    state = State(model=MODEL, pin=state.pin, stages=stages, history=tuple(history))
    storage.write_text(str(base / ".state.json"), state.model_dump_json(indent=1))


def write_project(folder: Path, home: Path, count: int) -> Project:
    """A repository with modules, all published and submitted, of which the last commit changes one."""
    names = [f"module_{number:04}" for number in range(count)]
    parts = {part: FILES[f"modules/taxi/{part}"] for part in PARTS_OF_A_MODULE}
    project = Project(folder)
    files: dict[str, str | None] = {f"modules/{name}/{part}": text for name in names for part, text in parts.items()}
    project.commit({**FILES, **files})
    tree = project.repository.tree("HEAD")
    prints = fingerprint(tree, read_modules(project.repository, tree), Place())
    for name in prints.module_digests:
        publish_module(folder / "modules" / name, home / "modules")
        unit = module_unit(name, DEFAULT_PIPELINE)
        key, when = prints.run_key(name), datetime(2026, 1, 1, tzinfo=UTC)
        record(str(home), Deployment(unit=unit, environment="base", key=key, revision=tree.revision, finished=when))
    project.commit({f"modules/{names[0]}/model.py": "changed = True\n"})
    return project


def _of_state(home: str, size: int, bucket: Bucket | None) -> Iterator[tuple[str, ...]]:
    state = Locations.under(home)
    folder = TemporaryDirectory(prefix="slipway-scale-")
    store, model, newest = open_store(state.store), Path(folder.name, "model"), 1_750_000_000 + size - 1
    for name in FILES_OF_A_MODEL:
        storage.write_bytes(str(model / name), b"another")
    lineage = Lineage(run="taxi-new", module=MODEL, module_digest="ab" * 32, data_uri=console.DATA)

    def fetch() -> None:
        store.fetch(store.version(MODEL, newest), model.parent / "fetched")

    async def look() -> None:
        await Index(RunRecords(state), storage.join(home, "console", "runs.json")).look()

    calls: dict[str, Callable[[], object]] = {
        "names of models": store.models,
        "state and versions": lambda: store.look(MODEL),
        "production": lambda: store.production(MODEL),
        "push": lambda: store.push(model, Provenance(model=MODEL, lineage=lineage)),
        "promote": lambda: store.promote(MODEL, newest),
        "fetch": fetch,
        "rollback": lambda: store.rollback(MODEL),
        "prune of a tenth": lambda: store.prune(MODEL, size - size // 10),
        "one run by its name": lambda: load_run(state.runs, "taxi-0007"),
        "all runs": lambda: list_runs(state.runs),
        "console's first look": lambda: asyncio.run(look()),
        "its next start": lambda: asyncio.run(look()),
    }
    for what, call in calls.items():
        yield _where(bucket), what, f"{size:,}", *_cost(call, bucket)
    folder.cleanup()


def _of_commands(home: Path, size: int) -> Iterator[tuple[str, ...]]:
    """Whole processes."""
    for command in (["models", "list"], ["runs", "list"], ["runs", "show"]):
        cost = measure([sys.executable, "-m", "cli.main", *command], {"SLIPWAY_HOME": str(home)})
        wall, cpu = 1000 * cost.wall_seconds, 1000 * cost.cpu_seconds
        yield "this machine", f"slipway {' '.join(command)}", f"{size:,}", f"{wall:.0f}", f"{cpu:.0f}", "", ""


def _of_plan(project: Project, home: str, modules: int, bucket: Bucket | None) -> Iterator[tuple[str, ...]]:
    def plan(base: str | None, **options: Any) -> None:
        plan_revision(project.repository, Place(home=home), base=base, **options)

    where, of = _where(bucket), f"{modules:,}"
    if bucket is None:
        yield where, "plan --offline", of, *_cost(lambda: plan(None, offline=True), None)
        yield where, "plan --offline, new branch", of, *_cost(lambda: plan("0" * 40, offline=True), None)
    yield where, "plan", of, *_cost(lambda: plan(None), bucket)


def _where(bucket: Bucket | None) -> str:
    return f"{bucket.scheme}://" if bucket else "this machine"


def _cost(call: Callable[[], object], bucket: Bucket | None) -> tuple[str, str, str, str]:
    """Wall and CPU milliseconds, requests and MiB answered; no CPU with a bucket, which takes most of it."""
    if bucket:
        bucket.requests = bucket.answered = 0
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    call()
    took, used = 1000 * (time.perf_counter() - wall), 1000 * (sum(os.times()[:4]) - cpu)
    if bucket:
        return f"{took:.0f}", "", f"{bucket.requests:,}", f"{bucket.answered / 2**20:.2f}"
    return f"{took:.0f}", f"{used:.0f}", "", ""
