"""The index: it follows the records, and its file is never believed against them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import BaseModel

from console.index.kept import Index
from slipway.errors import StoreError


class Fact(BaseModel):
    text: str


@dataclass
class Records:
    """Texts by name; counts what is read."""

    texts: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    moving: str = ""
    broken: Exception | None = None
    kind: type[Fact] = Fact
    every_seconds: float = -1.0
    readers: int = 2

    def marks(self) -> dict[str, str]:
        if self.broken:
            raise self.broken
        return {name: str(len(text)) for name, text in self.texts.items()}

    def read(self, name: str) -> Fact:
        self.reads.append(name)
        if name == "gone":
            raise FileNotFoundError
        if name == "damaged":
            raise ValueError("no number")
        if name == "locked":
            raise StoreError("you may not read it")
        return Fact(text=self.texts[name])

    def is_settled(self, entry: Fact) -> bool:
        return entry.text != self.moving


def look(records: Records, file: Path) -> dict[str, str]:
    """What a new console shows."""
    return asyncio.run(_entries(Index(records, str(file))))


async def _entries(index: Index[Fact]) -> dict[str, str]:
    await index.look()
    return {name: entry.text for name, entry in index.known.items()}


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    async def follow() -> None:
        records = Records({"a": "1", "b": "2"})
        index = Index(records, str(tmp_path / "index.json"))
        assert await _entries(index) == {"a": "1", "b": "2"}
        records.texts = {"b": "22", "c": "3"}
        assert await _entries(index) == {"b": "22", "c": "3"}
        assert sorted(records.reads) == ["a", "b", "b", "c"]

    asyncio.run(follow())


def test_next_console_reads_the_file_and_not_the_records(tmp_path: Path) -> None:
    records = Records({"a": "1", "b": "2"})
    look(records, tmp_path / "index.json")
    later = Records({"a": "1", "b": "22"})
    assert look(later, tmp_path / "index.json") == {"a": "1", "b": "22"}
    assert later.reads == ["b"]


@pytest.mark.parametrize(
    "content",
    [None, b"", b'{"form":["text"],"entries":{"a":{"mark"', b"\xff\x00", b"[]", b'{"form":["x"],"entries":{}}'],
)
def test_a_file_that_is_damaged_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    file, records = tmp_path / "index.json", Records({"a": "1"})
    look(records, file)
    good = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert look(records, file) == {"a": "1"}
    assert file.read_bytes() == good


def test_a_file_that_lies_is_corrected(tmp_path: Path) -> None:
    """Two consoles write it in any order, and one may have looked before the other."""
    file = tmp_path / "index.json"
    look(Records({"a": "old", "gone long ago": "x"}), file)
    assert look(Records({"a": "newer"}), file) == {"a": "newer"}


def test_what_moves_is_read_at_each_look(tmp_path: Path) -> None:
    records = Records({"a": "running", "b": "done"}, moving="running")
    look(records, tmp_path / "index.json")
    look(records, tmp_path / "index.json")
    assert sorted(records.reads) == ["a", "a", "b"]


def test_an_edition_lasts_until_something_changes(tmp_path: Path) -> None:
    async def follow() -> None:
        records = Records({"a": "1"}, moving="1")
        index = Index(records, str(tmp_path / "index.json"))
        editions = []
        for texts in ({"a": "1"}, {"a": "1"}, {"a": "2"}, {}):
            records.texts = texts
            await index.look()
            editions.append(index.edition)
        assert editions[0] == editions[1]
        assert len(set(editions)) == 3

    asyncio.run(follow())


def test_a_page_does_not_wait_for_a_long_look(tmp_path: Path) -> None:
    @dataclass
    class Slow(Records):
        def marks(self) -> dict[str, str]:
            time.sleep(1.0)
            return super().marks()

    async def ask() -> None:
        index = Index(Slow({"a": "1"}), str(tmp_path / "index.json"))
        began = time.monotonic()
        assert (await index.entries(), index.has_looked) == ({}, False)
        assert time.monotonic() - began < 0.9
        assert await index.find("a") == Fact(text="1")

    asyncio.run(ask())


@pytest.mark.parametrize(("name", "failure"), [("gone", ""), ("damaged", ""), ("locked", "you may not read it")])
def test_what_cannot_be_read_is_left_out_and_not_waited_for(tmp_path: Path, name: str, failure: str) -> None:
    async def find() -> None:
        index = Index(Records({name: "1", "b": "2"}), str(tmp_path / "index.json"))
        assert await _entries(index) == {"b": "2"}
        assert (index.missing, index.failure) == (0, failure)

    asyncio.run(find())


def test_a_page_that_is_given_up_does_not_end_the_look(tmp_path: Path) -> None:
    @dataclass
    class Slow(Records):
        def marks(self) -> dict[str, str]:
            time.sleep(0.5)
            return super().marks()

    async def ask() -> None:
        index = Index(Slow({"a": "1"}, every_seconds=3600.0), str(tmp_path / "index.json"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(index.find("b"), 0.2)
        assert await index.find("a") == Fact(text="1")

    asyncio.run(ask())


@pytest.mark.parametrize("broken", [StoreError("out of reach"), PermissionError("out of reach")])
def test_an_outage_keeps_what_was_known_and_says_so(tmp_path: Path, broken: Exception) -> None:
    async def fail() -> None:
        records = Records({"a": "1"})
        index = Index(records, str(tmp_path / "index.json"))
        await index.look()
        records.broken = broken
        assert await _entries(index) == {"a": "1"}
        assert "out of reach" in index.failure
        records.broken = None
        await index.look()
        assert index.failure == ""

    asyncio.run(fail())


def test_an_index_without_a_place_to_write_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    records = Records({"a": "1"})
    assert look(records, tmp_path / "file" / "index.json") == {"a": "1"}


def test_a_name_that_is_not_known_yet_is_looked_for(tmp_path: Path) -> None:
    async def find() -> None:
        records = Records({"a": "1"}, every_seconds=3600.0)
        index = Index(records, str(tmp_path / "index.json"))
        await index.look()
        records.texts["b"] = "2"
        assert await index.find("b") == Fact(text="2")
        assert await index.find("c") is None

    asyncio.run(find())
