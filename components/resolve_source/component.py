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
) -> NamedTuple("Source", [("source_uri", str), ("previous_statistics", str)]):  # type: ignore[valid-type]
    """Finds the files (or the table) behind a data URI, with a digest of their content. Never cached.

    `data_uri` is a file, glob, directory or `{SPAN}` pattern, local or gs://; bq://project.dataset.table; or a .sql
    file. `window` says how many of the newest spans are read. `source_uri` is that of a `Source` and ends in the digest
    of its content, so that it keys all later caches; `previous_statistics` is that of the statistics of this module's
    newest run on other data, or empty.
    """
    from components.resolve_source.previous_run import find_previous_statistics
    from slipway.data.examples.bigquery import is_bigquery, locate_in_bigquery
    from slipway.data.examples.source import locate, write_source

    source = locate_in_bigquery(data_uri) if is_bigquery(data_uri) else locate(data_uri, int(window))
    return write_source(source, sources_uri), find_previous_statistics(module, runs_uri, source.digest)
