"""BigQuery as a source: a table's version, and its rows as Arrow, through Ibis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slipway.data.examples.rows import Opening, RawRows
from slipway.data.examples.source import Source, digest_of
from slipway.errors import DataError
from slipway.stores import storage

if TYPE_CHECKING:
    import pyarrow as pa

SCHEME = "bq://"
BATCH_ROWS = 65_536


def is_bigquery(uri: str) -> bool:
    """Whether the data URI is a table of BigQuery, or a file with a query for it."""
    return uri.startswith(SCHEME) or uri.partition("?")[0].endswith(".sql")


def locate_in_bigquery(uri: str, client: Any = None, query: str | None = None) -> Source:
    """The table or query behind a data URI, or a query of another origin with that URI as its name.

    The digest is over the table's (or every read table's) name, time of the last change and rows, and over the
    query's text. Queries whose answer depends on the time of day are not noticed. The client is the environment's
    unless given.

    Raises:
        DataError: the name is not complete, or BigQuery refuses; the message is BigQuery's.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    table = None
    if uri.startswith(SCHEME) and query is None:
        table = uri.removeprefix(SCHEME)
        if not re.fullmatch(r"[^.]+\.[^.]+\.[^.]+", table):
            raise DataError(f"{uri}: write bq://project.dataset.table")
    elif query is None:
        query = storage.read_text(uri).strip().rstrip(";")
    try:
        client = client or bigquery.Client()
        read = {str(table)}
        if query is not None:  # BigQuery checks it without running it
            job = client.query(query, job_config=bigquery.QueryJobConfig(dry_run=True, use_query_cache=False))
            if job.statement_type != "SELECT":
                raise DataError(f"{uri}: the SQL is {job.statement_type}; write one SELECT")
            read = {f"{one.project}.{one.dataset_id}.{one.table_id}" for one in job.referenced_tables}
        found = [(name, client.get_table(name)) for name in sorted(read)]
    except (GoogleAPIError, GoogleAuthError) as error:
        raise DataError(f"{uri}: BigQuery refuses: {error}") from error
    versions = [f"{name} {one.modified.isoformat()} {one.num_rows}" for name, one in found]
    digest = digest_of("bigquery", query or "", *versions)
    return Source(uri=uri, format="bigquery", digest=digest, table=table, query=query)


def bigquery_rows(opening: Opening) -> RawRows:
    """The rows of a table or query."""
    reader = read_batches(opening.source)
    return opening.rows_of(reader.schema, reader, place=opening.source.uri)


def read_batches(source: Source) -> pa.RecordBatchReader:
    """The rows as Arrow."""
    import ibis

    table = open_table(source.table) if source.table else _connect(None).sql(source.query)
    # BIGNUMERIC has more digits than DuckDB takes.
    table = table.mutate(
        ibis.selectors.across(ibis.selectors.of_type("decimal"), lambda column: column.cast("float64"))
    )
    return table.to_pyarrow_batches(chunk_size=BATCH_ROWS)


def open_table(name: str) -> Any:
    """A table, `project.dataset.table`, as Ibis has it."""
    project, dataset, table = name.split(".")
    return _connect(project).table(table, database=(project, dataset))


def _connect(project: str | None) -> Any:
    """BigQuery, asked in UTC: a project may have another time zone for times without one."""
    import ibis
    from google.cloud.bigquery import ConnectionProperty

    backend = ibis.bigquery.connect(project_id=project)
    backend.client.default_query_job_config.connection_properties = [ConnectionProperty("time_zone", "UTC")]
    return backend
