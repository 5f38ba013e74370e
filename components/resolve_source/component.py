"""The step that looks up which data this run reads."""

from typing import NamedTuple

from components import component


@component()
def resolve_source(
    data_uri: str,
    window: int,
    module: str,
    runs_uri: str,
    sources_uri: str,
    snapshots_uri: str,
    features: str,
) -> NamedTuple("Source", [("source_uri", str), ("previous_statistics", str)]):  # type: ignore[valid-type]
    """Finds the files (or the table) behind a data URI, with a digest of their content. Never cached.

    `data_uri` is a file, glob, directory or `{SPAN}` pattern, local or in a bucket; bq://project.dataset.table; a .sql
    file; `snapshot:NAME`; or the source that an earlier run read. `window` says how many of the newest spans are read.
    `features` are the shared features that are joined to the rows, a list of `Join` as JSON. `source_uri` is that of a
    `Source` and ends in the digest of its content, so that it keys all later caches; `previous_statistics` is that of
    the statistics of this module's newest run on other data, or empty.
    """
    from pydantic import TypeAdapter

    from components.resolve_source.previous_run import find_previous_statistics
    from slipway.data.examples.source import Join, write_source
    from slipway.data.snapshots.resolve import is_source, resolve

    source = resolve(data_uri, int(window), snapshots_uri, TypeAdapter(list[Join]).validate_json(features))
    # The data of a run that is repeated were compared with those of the run before it.
    previous = "" if is_source(data_uri) else find_previous_statistics(module, runs_uri, source.digest)
    return write_source(source, sources_uri), previous
