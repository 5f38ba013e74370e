"""What lists show of many runs or versions, kept in memory and in one file beside the state.

The records are the truth. Each entry has a mark of the files that it was read from: where the mark differs, the entry
is read again, and what is gone leaves. So a file that is deleted, damaged, old or written by two consoles at once
costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from slipway.errors import SlipwayError
from slipway.stores import storage

Entry = TypeVar("Entry", bound=BaseModel)
SHOWN_EVERY = 100  # entries that a long first look has read
PATIENCE_SECONDS = 0.03  # that a page waits for a look
_log = logging.getLogger(__name__)


class Source(Protocol[Entry]):
    """The records behind an index."""

    @property
    def kind(self) -> type[Entry]:
        """The class of the entries; its fields are part of the file's form."""

    @property
    def every_seconds(self) -> float:
        """How old a look may be before the next one."""

    @property
    def readers(self) -> int:
        """How many entries are read at once."""

    def marks(self) -> dict[str, str]:
        """The names that there are, each with a mark that changes with its files."""

    def read(self, name: str) -> Entry:
        """One entry; StoreError if it is out of reach, OSError if it went away."""

    def is_settled(self, entry: Entry) -> bool:
        """Whether an entry stays as it is while its mark does."""


class _Kept(BaseModel, Generic[Entry]):
    mark: str
    entry: Entry


class _File(BaseModel, Generic[Entry]):
    form: list[str]
    entries: dict[str, _Kept[Entry]]


@dataclass(eq=False)
class Index(Generic[Entry]):
    """The entries of a source; `uri` is where they are kept.

    Attributes:
        failure: Why the last look at the records did not succeed; empty if it did.
        has_looked: Whether there was a look that came to its end.
        known: The entries by name that looks have found so far.
        missing: How many entries are not read yet.
        edition: Changes with the entries.
    """

    source: Source[Entry]
    uri: str
    failure: str = ""
    has_looked: bool = False
    known: dict[str, Entry] = field(default_factory=dict)
    missing: int = 0
    edition: int = 0
    _kept: dict[str, _Kept[Entry]] | None = None
    _looked: float = field(default=float("-inf"))
    _look: asyncio.Task[None] | None = None

    async def entries(self) -> dict[str, Entry]:
        """The entries by name, as the last look found them; a look that takes long goes on behind the page."""
        await asyncio.wait([self.look()], timeout=PATIENCE_SECONDS)
        return self.known

    async def find(self, name: str) -> Entry | None:
        """One entry, looked for among the records if it is not known yet."""
        found = (await self.entries()).get(name)
        if found is None:
            self._looked = float("-inf")
            await asyncio.wait([self.look()])  # a page that is given up must not end the look of the others
            found = self.known.get(name)
        return found

    def look(self) -> asyncio.Task[None]:
        """The look that goes on, or a new one if the last is too old."""
        aged = time.monotonic() - self._looked > self.source.every_seconds
        if self._look is None or (self._look.done() and aged):
            self._look = asyncio.create_task(asyncio.to_thread(self._refresh))
        return self._look

    def _refresh(self) -> None:
        if self._kept is None:
            self._keep(self._load())
        try:
            changed, self.failure = self._update(self.source.marks())
            if changed:
                self._save()
        except (SlipwayError, OSError) as error:
            self.failure = str(error)
        self.has_looked, self._looked = True, time.monotonic()

    def _update(self, marks: dict[str, str]) -> tuple[bool, str]:
        """Reads what is new or changed; returns whether anything is, and why an entry could not be read."""
        known = self._kept or {}
        kept = {name: one for name, one in known.items() if name in marks}
        stale = [
            name
            for name, mark in marks.items()
            if name not in kept or kept[name].mark != mark or not self.source.is_settled(kept[name].entry)
        ]
        self.missing = len([name for name in stale if name not in kept])
        changed, failure = len(kept) < len(known), ""
        for name, entry in self._read(stale):
            self.missing -= name not in kept
            if isinstance(entry, SlipwayError):
                failure = str(entry)
                continue
            if entry is None:
                continue
            changed |= name not in kept or kept[name] != _Kept(mark=marks[name], entry=entry)
            kept[name] = _Kept(mark=marks[name], entry=entry)
            if self.missing and len(kept) % SHOWN_EVERY == 0:
                self._keep(dict(kept))
        if changed:
            self._keep(kept)
        return changed, failure

    def _keep(self, kept: dict[str, _Kept[Entry]]) -> None:
        self._kept = kept
        self.known = {name: one.entry for name, one in kept.items()}
        self.edition += 1

    def _read(self, names: list[str]) -> Iterator[tuple[str, Entry | SlipwayError | None]]:
        """Entries by name, several at once, or why one is out of reach; None for what goes away meanwhile."""

        def read(name: str) -> Entry | SlipwayError | None:
            try:
                return self.source.read(name)
            except SlipwayError as error:
                return error
            except (OSError, ValueError) as error:
                _log.warning("%s is left out: %s", name, error)
                return None

        with ThreadPoolExecutor(self.source.readers) as readers:
            yield from zip(names, readers.map(read, names), strict=True)

    def _load(self) -> dict[str, _Kept[Entry]]:
        """What the file has; nothing if it is missing, damaged, or of another form."""
        try:
            found = _File[self.source.kind].model_validate_json(storage.read_bytes(self.uri))  # type: ignore[name-defined]
        except (SlipwayError, ValidationError):
            return {}
        return found.entries if found.form == self._form else {}

    def _save(self) -> None:
        file = _File[self.source.kind](form=self._form, entries=self._kept)  # type: ignore[name-defined]
        try:
            storage.write_text(self.uri, file.model_dump_json())
        except SlipwayError as error:  # a reader of a state that others write
            _log.info("the index is kept in memory only: %s", error)

    @property
    def _form(self) -> list[str]:
        return sorted(self.source.kind.model_fields)
