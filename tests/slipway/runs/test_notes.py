from __future__ import annotations

import threading
from pathlib import Path

import pytest

from slipway.errors import ConfigError, StoreError
from slipway.runs.notes import Notes, parse_tags, read_notes, write_notes
from tests.fakes.storage_server import StorageServer


def test_notes_keep_tags_and_the_note_apart(tmp_path: Path) -> None:
    uri = str(tmp_path)
    write_notes(uri, tags={"owner": "ann"})
    write_notes(uri, note="  looks good\nso far ")
    write_notes(uri, tags={"ticket": "12"})
    assert read_notes(uri) == Notes(tags={"owner": "ann", "ticket": "12"}, note="looks good\nso far")
    write_notes(uri, tags={"owner": ""}, note="")
    assert read_notes(uri) == Notes(tags={"ticket": "12"})


def test_notes_on_gs_are_kept(storage_server: StorageServer) -> None:
    uri = storage_server.uri("runs/taxi-1")
    write_notes(uri, tags={"owner": "ann"})
    write_notes(uri, note="fine")
    assert read_notes(uri) == Notes(tags={"owner": "ann"}, note="fine")


def test_notes_of_two_at_once_are_all_kept(tmp_path: Path) -> None:
    threads = [threading.Thread(target=write_notes, args=(str(tmp_path),), kwargs={"tags": {f"k{number}": "v"}})
               for number in range(16)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_notes(str(tmp_path)).tags) == 16


def test_notes_that_are_damaged_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        write_notes(str(tmp_path), note="x")
    assert (tmp_path / "notes.json").read_text() == "{"


@pytest.mark.parametrize("pair", ["owner", "=ann", "own er=ann", "1=2", "a" * 64 + "=x", "a='\n'", "a=" + "x" * 251])
def test_tags_that_are_wrong_are_refused(pair: str) -> None:
    with pytest.raises(ConfigError):
        parse_tags([pair])


def test_tags_take_any_text_of_one_line() -> None:
    assert parse_tags(["a=b=c", "owner=Änne B.", "old="]) == {"a": "b=c", "owner": "Änne B.", "old": ""}
