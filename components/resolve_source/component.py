"""Interface of the step that looks up which data this run reads."""

from typing import NamedTuple

from components import component


@component
def resolve_source(
    data_uri: str,
    window: int,
    module: str,
    runs_uri: str,
) -> NamedTuple("Source", [("source", dict), ("previous_statistics", str)]):  # type: ignore[valid-type]
    """Finds the files (or the table) behind a data URI, with a digest of their content. Never cached.

    Args:
        data_uri: File, glob, directory or `{SPAN}` pattern, local or gs://; bq://project.dataset.table; or a .sql file.
        window: How many of the newest spans to read.
        module: Name of the module, to find its runs.
        runs_uri: Where the records of runs are kept.

    Returns:
        source: Files, format, span and digest, as `slipway.data.examples.source.Source`; it keys all later caches.
        previous_statistics: URI of the statistics of the newest run of this module on other data; empty if none.
    """
    from components.resolve_source.run import resolve

    return resolve(data_uri, int(window), module, runs_uri)
