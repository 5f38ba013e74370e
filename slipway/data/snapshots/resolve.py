"""From a data URI, of whatever kind, to its source."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from slipway.data.examples.bigquery import SCHEME, find_moment, is_bigquery, locate_in_bigquery
from slipway.data.examples.bigquery_join import view_query
from slipway.data.examples.source import (
    DATA,
    Join,
    JoinedSource,
    Source,
    describe_file,
    digest_of,
    find,
    locate,
    read_source,
)
from slipway.data.snapshots.dvc import is_pointer
from slipway.data.snapshots.store import as_source, is_snapshot, load_snapshot
from slipway.errors import DataError, StoreError

ALL_SPANS = sys.maxsize
_SOURCE = re.compile(r".*/sources/[0-9a-f]{64}\.json(\?.*)?")


def resolve(uri: str, window: int, snapshots_uri: str, joins: Sequence[Join] = (), given_by: str = DATA) -> Source:
    """The source behind a data URI, with the digest of its content; `window` is how many spans are read.

    With shared features the digest follows their SQL and data, too. A source that a run has read has its own.

    Raises:
        DataError: nothing is there, it is of no known format, or it is not what it was when it was stored.
    """
    if is_source(uri):
        source = read_source(uri)
        if problems := changes(source, snapshots_uri):
            raise DataError("\n- ".join([f"{source.uri}: the data are not those that the run read:", *problems]))
        return source
    features = [resolve_join(join, snapshots_uri) for join in joins]
    return _with_features(_rows(uri, window, snapshots_uri, given_by), features)


def resolve_join(join: Join, snapshots_uri: str) -> JoinedSource:
    """A view with its data; of these all spans are read."""
    if is_pointer(join.data):
        raise DataError(
            f"features/{join.view}.sql: data is a pointer of DVC, {join.data}; keep what it stands for, `slipway data "
            "snapshot POINTER --name NAME`, and write data: snapshot:NAME"
        )
    if not is_bigquery(join.data):
        return JoinedSource(join=join, source=_rows(join.data, ALL_SPANS, snapshots_uri, _given_by(join)))
    keeps_history = locate_in_bigquery(join.data).as_of is not None
    source = locate_in_bigquery(_given_by(join), query=view_query(join, keeps_history=keeps_history))
    return JoinedSource(join=join.model_copy(update={"sql": "SELECT * FROM data"}), source=source)


def _given_by(join: Join) -> str:
    return f"data in features/{join.view}.sql"


def _rows(uri: str, window: int, snapshots_uri: str, given_by: str = DATA) -> Source:
    """The source of the data's own rows."""
    if is_snapshot(uri):
        return as_source(load_snapshot(snapshots_uri, uri), snapshots_uri)
    return locate_in_bigquery(uri) if is_bigquery(uri) else locate(uri, window, given_by)


def _with_features(rows: Source, features: list[JoinedSource]) -> Source:
    digests = [part for one in features for part in (one.join.model_dump_json(exclude={"data"}), one.source.digest)]
    digest = digest_of(rows.digest, *digests) if features else rows.digest
    return rows.model_copy(update={"features": features, "digest": digest})


def look(uri: str, window: int, snapshots_uri: str, given_by: str = DATA) -> Source | None:
    """The files behind a data URI, which are not read: their digests are left out. None for BigQuery."""
    if is_snapshot(uri):
        return as_source(load_snapshot(snapshots_uri, uri), snapshots_uri, verify=False)
    return None if is_bigquery(uri) else find(uri, window, given_by)


def is_source(uri: str) -> bool:
    """Whether a data URI is that of a source which a run has read."""
    return _SOURCE.fullmatch(uri) is not None


def changes(source: Source, snapshots_uri: str) -> list[str]:
    """What of a source's files, or of those of its features, is gone, or no longer what it was."""
    problems = [problem for one in source.features for problem in changes(one.source, snapshots_uri)]
    return problems + _own_changes(source, snapshots_uri)


def _own_changes(source: Source, snapshots_uri: str) -> list[str]:
    if is_snapshot(source.uri):
        try:
            found = _with_features(_rows(source.uri, 1, snapshots_uri), source.features)
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
        query = None if source.uri.startswith(SCHEME) else source.query
        if _with_features(locate_in_bigquery(source.uri, query=query), source.features).digest == source.digest:
            return []
        return [f"{source.uri} was changed, and was not read as of a moment: its older rows are gone"]
    try:
        find_moment(source, source.as_of)
    except DataError as error:
        return [str(error)]
    return []
