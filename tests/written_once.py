"""What takes long to make, made by one of xdist's workers and read by all."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def written_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """A folder below the session's temporary one; nobody may change it."""
    base = factory.getbasetemp()
    if base.name.startswith("popen-"):  # a worker's own
        base = base.parent
    folder, written = base / name, base / f"{name}.written"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            write(folder)
            written.touch()
    return folder


def tiny_model(factory: pytest.TempPathFactory) -> Path:
    """The SavedModel of `tests.served_models`; TensorFlow is imported only to write it."""

    def write(folder: Path) -> None:
        from tests.served_models import write_saved_model

        write_saved_model(folder)

    return written_once(factory, "tiny", write)


def conformance_models(factory: pytest.TempPathFactory) -> Path:
    """The folder with the models of `tests.conformance.model` and their `models.config`."""
    from tests.conformance.model import write_models

    return written_once(factory, "conformance", write_models)
