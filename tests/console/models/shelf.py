"""A model store as pages of the console meet it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slipway.lineage import Lineage
from slipway.stores import storage
from slipway.stores.model_store import Event, LocalModelStore, Provenance, State
from slipway.stores.model_store.manifest import Manifest, ModelFile
from tests.model_files import write_model

HOSTILE = "<script>alert(1)</script>\"'\x00\x1b[31m\u202egnp../../etc"


def described(number: int, *, run: str = "", model: str = "taxi") -> Provenance:
    """Where a version comes from, with metrics."""
    return Provenance(
        model=model,
        lineage=Lineage(
            run=run or f"{model}-{number}", module=model, module_digest="ab" * 32, data_uri="/data/trips.csv",
            git_revision="c0ffee", hyperparameters={"hidden": [64]},
        ),
        metrics={"auc": 0.9 + number / 1000, "log_loss": 0.2},
        reasons=["auc 0.95 is at least 0.93 (n=5,057)"],
    )  # fmt: skip


def push_versions(home: Path, count: int, model: str = "taxi") -> tuple[LocalModelStore, list[int]]:
    """A store with so many candidates."""
    store = LocalModelStore(home / "models")
    numbers = []
    for number in range(count):
        files = write_model(home / "sources" / f"{model}-{number}", number)
        numbers.append(store.push(files, described(number, model=model)).version.number)
    return store, numbers


def lay_versions(store: str, count: int) -> list[int]:
    """So many versions of one file as pushes leave them, on a disk or in a bucket, in less time."""
    numbers = list(range(1_750_000_000, 1_750_000_000 + count))

    def lay(number: int) -> None:
        file = ModelFile(path="saved_model.pb", size=1, sha256="ab" * 32)
        given = described(number - numbers[0]).model_dump()
        manifest = Manifest(**given, version=number, created=float(number), model_digest=f"{number}", files=[file])
        storage.write_bytes(storage.join(store, "taxi", str(number), file.path), b"x")
        storage.write_text(storage.join(store, "taxi", ".manifests", f"{number}.json"), manifest.model_dump_json())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lay, numbers))
    pushes = tuple(
        Event(when=number, action="push", version=number, who="ci", why="passed its gate", run=f"taxi-{number}",
              model_digest=f"{number}")
        for number in numbers
    )  # fmt: skip
    state = State(model="taxi", stages=dict.fromkeys(numbers, "candidate"), history=pushes)
    storage.write_text(storage.join(store, "taxi", ".state.json"), state.model_dump_json())
    return numbers
