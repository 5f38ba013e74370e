"""Checkpoints of one training, so that a killed step goes on where it was.

Two slots are written in turn, each atomically: a damaged one leaves the other, one epoch older.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.errors import StoreError
from slipway.stores import storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOTS = ("a.npz", "b.npz")
log = logging.getLogger(__name__)


def digest_inputs(parameters: dict[str, Any], files: list[Path]) -> str:
    """SHA-256 over all that decides how a training goes: its parameters and the bytes of its data."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one training below `uri`, local or `gs://`; of several workers only one writes them."""

    def __init__(self, uri: str, writable: bool = True) -> None:
        self._uri = uri
        self.writable = writable

    def save(self, epoch: int, arrays: dict[str, NDArray[Any]], state: str) -> None:
        """Keeps what the training needs to go on after this epoch."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, __state__=np.array(state), **arrays)
        storage.write_bytes(storage.join(self._uri, SLOTS[epoch % len(SLOTS)]), buffer.getvalue())

    def load(self) -> list[tuple[str, dict[str, NDArray[Any]]]]:
        """State and arrays of each readable checkpoint."""
        return [found for slot in SLOTS if (found := self._load(slot)) is not None]

    def clear(self) -> None:
        """Removes them: the training is done."""
        storage.delete_folder(self._uri)

    def _load(self, slot: str) -> tuple[str, dict[str, NDArray[Any]]] | None:
        try:
            content = storage.read_bytes(storage.join(self._uri, slot))
        except StoreError:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found = dict(arrays)
            return str(found.pop("__state__")), found
        except Exception as error:  # a damaged file fails in many ways, and none of them may stop the training
            log.warning("the checkpoint %s/%s cannot be read and is left out: %s", self._uri, slot, error)
            return None
