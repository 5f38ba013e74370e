"""Interface of the step that looks up which data this run reads."""

from typing import NamedTuple

from components import component


@component
def resolve_source(
    data_uri: str,
    window: int,
    module: str,
    runs_uri: str,
    sources_uri: str,
) -> NamedTuple("Source", [("source_uri", str), ("previous_statistics", str)]):  # type: ignore[valid-type]
    """Finds the files (or the table) behind a data URI, with a digest of their content. Never cached.

    Args:
        data_uri: File, glob, directory or `{SPAN}` pattern, local or gs://; bq://project.dataset.table; or a .sql file.
        window: How many of the newest spans to read.
        module: Name of the module, to find its runs.
        runs_uri: Where the records of runs are kept.
        sources_uri: Where sources are written, each under its digest.

    Returns:
        source_uri: JSON of `slipway.data.examples.source.Source`: files, format, span and digest. The name is the
            digest of this content, so that it keys all later caches.
        previous_statistics: URI of the statistics of the newest run of this module on other data; empty if none.
    """
    from components.resolve_source.run import resolve

    return resolve(data_uri, int(window), module, runs_uri, sources_uri)
