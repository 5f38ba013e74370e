"""Tags and a note that people give a run: `notes.json` in its record."""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import BaseModel

from slipway.errors import ConfigError, StoreError
from slipway.runs.summary import read_record
from slipway.stores import storage

NOTES = "notes.json"
TAG_LENGTH, NOTE_LENGTH = 250, 10_000
RESERVED = ("slipway.", "mlflow.")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


class Notes(BaseModel):
    """Tags by key, and a note."""

    tags: dict[str, str] = {}
    note: str = ""


def read_notes(run_uri: str) -> Notes:
    """The notes of a run; none where the file is missing or damaged."""
    return read_record(run_uri, NOTES, Notes) or Notes()


def parse_tags(pairs: list[str]) -> dict[str, str]:
    """Tags as `KEY=VALUE`; an empty value removes one."""
    tags = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ConfigError(
                f"{pair!r} is no tag: write KEY=VALUE, the key of at most 63 letters, digits, dots, dashes and "
                "underscores, a letter first; KEY= removes one"
            )
        if key.startswith(RESERVED):
            raise ConfigError(
                f"tag {key}: keys that begin with {' or '.join(RESERVED)} are the trackers'; choose another"
            )
        if len(value) > TAG_LENGTH or not value.isprintable():
            raise ConfigError(f"tag {key}: a value is one line of at most {TAG_LENGTH} characters")
        tags[key] = value
    return tags


def write_notes(run_uri: str, *, tags: Mapping[str, str] = {}, note: str | None = None) -> Notes:
    """Changes tags, and the note if one is given; what is empty is removed."""
    if note is not None and len(note) > NOTE_LENGTH:
        raise ConfigError(f"the note has {len(note):,} characters; at most {NOTE_LENGTH:,} are kept")
    with _alone(run_uri):
        before = read_record(run_uri, NOTES, Notes)
        if before is None and storage.exists(storage.join(run_uri, NOTES)):
            raise StoreError(f"{storage.join(run_uri, NOTES)} is damaged; remove it to start anew")
        before = before or Notes()
        kept = {key: value for key, value in {**before.tags, **tags}.items() if value}
        notes = Notes(tags=kept, note=before.note if note is None else note.strip())
        storage.write_text(storage.join(run_uri, NOTES), notes.model_dump_json(indent=1))
    return notes


@contextmanager
def _alone(run_uri: str) -> Iterator[None]:
    """Two commands on one machine do not overwrite each other's tags; in a bucket the last one wins."""
    if storage.is_remote(run_uri):
        yield
        return
    folder = os.open(storage.local_path(run_uri), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
