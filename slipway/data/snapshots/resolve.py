"""From a data URI, of whatever kind, to its source."""

from __future__ import annotations

import re

from slipway.data.examples.bigquery import find_moment, is_bigquery, locate_in_bigquery
from slipway.data.examples.source import DATA, Source, describe_file, find, locate, read_source
from slipway.data.snapshots.store import as_source, is_snapshot, load_snapshot
from slipway.errors import DataError, StoreError

_SOURCE = re.compile(r".*/sources/[0-9a-f]{64}\.json(\?.*)?")


def resolve(uri: str, window: int, snapshots_uri: str) -> Source:
    """The source behind a data URI, with the digest of its content; `window` is how many spans are read.

    Raises:
        DataError: nothing is there, it is of no known format, or it is not what it was when it was stored.
    """
    if is_source(uri):
        source = read_source(uri)
        if problems := changes(source, snapshots_uri):
            raise DataError("\n- ".join([f"{source.uri}: the data are not those that the run read:", *problems]))
        return source
    if is_snapshot(uri):
        return as_source(load_snapshot(snapshots_uri, uri), snapshots_uri)
    return locate_in_bigquery(uri) if is_bigquery(uri) else locate(uri, window)


def look(uri: str, window: int, snapshots_uri: str, given_by: str = DATA) -> Source | None:
    """The files behind a data URI, which are not read: their digests are left out. None for BigQuery."""
    if is_snapshot(uri):
        return as_source(load_snapshot(snapshots_uri, uri), snapshots_uri, verify=False)
    return None if is_bigquery(uri) else find(uri, window, given_by)


def is_source(uri: str) -> bool:
    """Whether a data URI is that of a source which a run has read."""
    return _SOURCE.fullmatch(uri) is not None


def changes(source: Source, snapshots_uri: str) -> list[str]:
    """What of a source's files is gone, or no longer what it was."""
    if is_snapshot(source.uri):
        try:
            found = resolve(source.uri, 1, snapshots_uri)
        except DataError as error:
            return [str(error)]
        return [] if found.digest == source.digest else [f"{source.uri} is another snapshot now: {found.digest}"]
    if source.format == "bigquery":
        return _changes_in_bigquery(source)
    problems = []
    for file in source.files:
        try:
            digest = describe_file(file.uri).digest
        except (StoreError, FileNotFoundError):
            problems.append(f"{file.uri} is gone")
            continue
        if digest != file.digest:
            problems.append(f"{file.uri} was changed: it was {file.digest}, and is {digest}")
    return problems


def _changes_in_bigquery(source: Source) -> list[str]:
    if source.as_of is None:
        same = locate_in_bigquery(source.uri).digest == source.digest
        return [] if same else [f"{source.uri} was changed, and was not read as of a moment: its older rows are gone"]
    try:
        find_moment(source, source.as_of)
    except DataError as error:
        return [str(error)]
    return []
