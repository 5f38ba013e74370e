"""What is remembered of a search: each finished training is one file, written once.

`<tuning>/<model>/<key>/<data>/` holds

- `trial-0007.json`      `Trial`: byte for byte the same for the same seed, whatever was killed in between
- `confirm-0007-1.json`  `Confirmation`: trial 7 once more, with another seed
- `….clock`              `Clock`: what the clock measured of that file, and the runs that began it

and `<tuning>/<model>/<key>/winner.json` the newest `Winner`. No lock and no index: a missing or damaged file is a
training that has not been finished, and is done again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from slipway.stores import storage
from slipway.tuning.space import Values

log = logging.getLogger(__name__)
State = Literal["complete", "pruned", "failed"]


class Trial(BaseModel):
    """One training with drawn values. The first, number 0, is that of module.yaml."""

    number: int
    state: State
    values: Values
    value: float | None = None
    folds: list[float] = []
    epochs: list[int] = []
    rungs: dict[int, float] = {}
    reason: str = ""
    seed: int = 0
    parameters: dict[str, Any] = {}
    distributions: dict[str, str] = {}
    drawn_from: list[int] = []


class Confirmation(BaseModel):
    """A trial trained once more; no value if that failed."""

    number: int
    seed: int
    value: float | None = None
    reason: str = ""


class Clock(BaseModel):
    """When a training began last, in seconds since 1970, how long it took, and the runs that told no end of it."""

    started: float = 0.0
    seconds: float = 0.0
    begun: list[str] = []


def name_trial(number: int) -> str:
    """The file of a trial."""
    return f"trial-{number:04}.json"


def name_confirmation(number: int, seed: int) -> str:
    """The file of a trial trained once more."""
    return f"confirm-{number:04}-{seed}.json"


Record = TypeVar("Record", bound=BaseModel)


class TrialFiles:
    """The files of one search, on this machine or in a bucket."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def trial(self, number: int) -> Trial | None:
        """A finished trial."""
        return self._read(name_trial(number), Trial)

    def confirmation(self, number: int, seed: int) -> Confirmation | None:
        """A finished confirmation."""
        return self._read(name_confirmation(number, seed), Confirmation)

    def write(self, record: Trial | Confirmation) -> None:
        """Writes what was finished; after its clock, since the record says that it is finished."""
        number, again = record.number, isinstance(record, Confirmation)
        self._write(name_confirmation(number, record.seed) if again else name_trial(number), record)

    def write_clock(self, name: str, clock: Clock) -> None:
        """Writes what the clock measured of a file, which may not be finished yet."""
        self._write(f"{name}.clock", clock)

    def clocks(self) -> Iterator[tuple[str, Clock]]:
        """What the clock measured, by file."""
        for name in storage.list_names(self.uri):
            if name.endswith(".clock") and (clock := self._read(name, Clock)):
                yield name.removesuffix(".clock"), clock

    def _write(self, name: str, content: BaseModel) -> None:
        storage.write_text(storage.join(self.uri, name), content.model_dump_json(indent=1) + "\n")

    def _read(self, name: str, form: type[Record]) -> Record | None:
        return read_if_whole(storage.join(self.uri, name), form)


def read_if_whole(uri: str, form: type[Record]) -> Record | None:
    """A file of a search; None if it is missing, or damaged, which is logged. StoreError if it is out of reach."""
    if not storage.exists(uri):
        return None
    content = storage.read_bytes(uri)
    try:
        return form.model_validate_json(content)
    except ValidationError:
        log.warning("%s is damaged, and made again", uri)
        return None
