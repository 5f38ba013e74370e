"""The monitor's state of one model: one object, replaced only if nobody else replaced it meanwhile."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import TypeVar

from slipway.errors import StoreError
from slipway.monitoring.decision import State
from slipway.remote.address import shown
from slipway.remote.objects import ABSENT, open_object
from slipway.remote.retries import retrying
from slipway.stores import storage
from slipway.stores.artifacts import parse_json

FILE = "state.json"
ATTEMPTS = 10

Answer = TypeVar("Answer")
Change = Callable[[State], tuple[Answer, State]]


def read_state(folder: str) -> State:
    """The state in a folder; a new one if there is none yet."""
    uri = storage.join(folder, FILE)
    return _parse(storage.read_bytes(uri), uri) if storage.exists(uri) else State()


def change_state(folder: str, change: Change[Answer]) -> Answer:
    """Replaces the state by what `change` makes of it, and returns its answer.

    Two monitors at once run one after the other: on a disk by a lock, in a bucket by the object's generation; `change`
    is called anew on what the other wrote.

    Raises:
        StoreError: the folder cannot be written, or others changed the state `ATTEMPTS` times meanwhile.
    """
    if storage.is_remote(folder):
        return _change_remote(storage.join(folder, FILE), change)
    path = storage.local_path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with (path / "state.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answer, after = change(read_state(folder))
            storage.write_text(storage.join(folder, FILE), after.model_dump_json(indent=1))
    except OSError as error:
        raise StoreError(f"the monitor's state in {folder} cannot be changed: {error}; nothing was changed") from error
    return answer


def _parse(content: bytes, uri: str) -> State:
    return parse_json(content, State, uri, "restore it from a backup, or delete it to begin anew")


class _ReplacedError(StoreError):
    """Somebody else replaced the state first."""


def _change_remote(uri: str, change: Change[Answer]) -> Answer:
    objects, name = open_object(uri)

    def swap() -> Answer:
        content, generation = objects.read_generation(name) or (None, ABSENT)
        before = _parse(content, uri) if content else State()
        answer, after = change(before)
        if after != before and not objects.put(name, after.model_dump_json(indent=1).encode(), generation):
            raise _ReplacedError(f"{shown(uri)}: others changed it {ATTEMPTS} times meanwhile; run again")
        return answer

    return retrying(_ReplacedError, attempts=ATTEMPTS, first_seconds=0.02, longest_seconds=0.3)(swap)
