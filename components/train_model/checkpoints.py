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
    """The checkpoints of one training below `uri`, local or remote; of several workers only one writes them.

    A store out of reach costs no training: a warning is logged, and the training goes on without the checkpoint.
    """

    def __init__(self, uri: str, writable: bool = True) -> None:
        self._uri = uri
        self.writable = writable

    def save(self, epoch: int, arrays: dict[str, NDArray[Any]], state: str) -> None:
        """Keeps what the training needs to go on after this epoch."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, __state__=np.array(state), **arrays)
        try:
            storage.write_bytes(storage.join(self._uri, SLOTS[epoch % len(SLOTS)]), buffer.getvalue())
        except StoreError as error:
            log.warning("the checkpoint after epoch %d is not saved: %s", epoch, error)

    def load(self) -> list[tuple[str, dict[str, NDArray[Any]]]]:
        """State and arrays of each readable checkpoint."""
        return [found for slot in SLOTS if (found := self._load(slot)) is not None]

    def clear(self) -> None:
        """Removes them: the training is done."""
        try:
            storage.delete_folder(self._uri)
        except StoreError as error:
            log.warning("the checkpoints of a finished training are not removed: %s", error)

    def _load(self, slot: str) -> tuple[str, dict[str, NDArray[Any]]] | None:
        uri = storage.join(self._uri, slot)
        try:
            if not storage.exists(uri):
                return None
            content = storage.read_bytes(uri)
        except StoreError as error:
            log.warning("the checkpoint is left out: %s", error)
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found = dict(arrays)
            return str(found.pop("__state__")), found
        except Exception as error:  # a damaged file fails in many ways, and none of them may stop the training
            log.warning("the checkpoint %s is damaged and left out: %s", uri, error)
            return None
