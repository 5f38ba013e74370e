"""BigQuery as a source: a table's version, and its rows as Arrow, of one moment, through Ibis."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.data.examples.rows import Opening, RawRows
from slipway.data.examples.source import Source, digest_of
from slipway.errors import DataError
from slipway.stores import storage

if TYPE_CHECKING:
    import pyarrow as pa

SCHEME = "bq://"
BATCH_ROWS = 65_536
AS_OF = "@as_of"  # in a query, the moment: FROM t FOR SYSTEM_TIME AS OF @as_of
# A dataset may keep less, two days at least: https://cloud.google.com/bigquery/docs/time-travel
HISTORY = timedelta(days=7)
_TICK, _RECENT = timedelta(milliseconds=1), timedelta(minutes=1)  # times of changes are told in milliseconds


def is_bigquery(uri: str) -> bool:
    """Whether the data URI is a table of BigQuery, or a file with a query for it."""
    return uri.startswith(SCHEME) or uri.partition("?")[0].endswith(".sql")


def locate_in_bigquery(uri: str, client: Any = None, query: str | None = None) -> Source:
    """The table or query behind a data URI, or a query of another origin with that URI as its name; and the moment.

    The digest is over the table's (or every read table's) name, time of the last change and rows, and over the
    query's text. The moment is just after the last change, so that it is the same while nothing changes; a view or an
    external table has none. Queries whose answer depends on the time of day are not noticed. The client is the
    environment's unless given.

    Raises:
        DataError: the name is not complete, or BigQuery refuses; the message is BigQuery's.
    """
    table = None
    if uri.startswith(SCHEME) and query is None:
        table = uri.removeprefix(SCHEME)
        if not re.fullmatch(r"[^.]+\.[^.]+\.[^.]+", table):
            raise DataError(f"{uri}: write bq://project.dataset.table")
    elif query is None:
        query = storage.read_text(uri).strip().rstrip(";")
    source = Source(uri=uri, format="bigquery", digest="", table=table, query=query)
    found = _tables(source, client)
    versions = [f"{name} {one.modified.isoformat()} {one.num_rows}" for name, one in found]
    keeps_history = query is None or AS_OF in query
    as_of = None
    if keeps_history and found and all(one.table_type == "TABLE" for _, one in found):
        as_of = max(one.modified for _, one in found) + _TICK
    digest = digest_of("bigquery", query or "", *versions)
    return source.model_copy(update={"digest": digest, "as_of": as_of})


def bigquery_rows(opening: Opening) -> RawRows:
    """The rows of a table or query."""
    reader = read_batches(opening.source)
    return opening.rows_of(reader.schema, reader, place=opening.source.uri)


def read_batches(source: Source, client: Any = None) -> pa.RecordBatchReader:
    """The rows as Arrow, those of the source's moment.

    Raises:
        DataError: BigQuery no longer has them.
    """
    import ibis

    if source.as_of:
        query, project = query_of(source, client), source.table.partition(".")[0] if source.table else None
        table = _connect(project).sql(query)
    else:
        table = open_table(source.table) if source.table else _connect(None).sql(source.query)
    # BIGNUMERIC has more digits than DuckDB takes.
    table = table.mutate(
        ibis.selectors.across(ibis.selectors.of_type("decimal"), lambda column: column.cast("float64"))
    )
    return table.to_pyarrow_batches(chunk_size=BATCH_ROWS)


def find_moment(source: Source, as_of: datetime, client: Any = None) -> datetime:
    """A moment that has the rows of `as_of`: a later one, while the tables are unchanged since.

    Raises:
        DataError: BigQuery no longer has them.
    """
    now, changed = datetime.now(UTC), max(one.modified for _, one in _tables(source, client))
    if changed < as_of:
        return max(as_of, now - _RECENT)
    if now - as_of > HISTORY:
        raise DataError(
            f"{source.uri}: the rows of {as_of.isoformat()} are gone: BigQuery keeps the history of {HISTORY.days} "
            f"days, and the last change was at {changed.isoformat()}. `slipway data snapshot URI --name NAME` "
            "keeps rows for longer; take one before a run that shall be repeated"
        )
    return as_of


def query_of(source: Source, client: Any = None) -> str:
    """The query for a source's own rows, those of its moment.

    Raises:
        DataError: BigQuery no longer has them.
    """
    if source.as_of:
        return _sql(source, find_moment(source, source.as_of, client))
    return f"SELECT * FROM `{source.table}`" if source.query is None else source.query  # noqa: S608


def _sql(source: Source, moment: datetime) -> str:
    """The query that reads the rows of a moment."""
    literal = f"TIMESTAMP '{moment.isoformat()}'"
    if source.query is not None:
        return source.query.replace(AS_OF, literal)
    return f"SELECT * FROM `{source.table}` FOR SYSTEM_TIME AS OF {literal}"  # noqa: S608


def _tables(source: Source, client: Any) -> list[tuple[str, Any]]:
    """Name and description of each table that is read."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    try:
        client = client or bigquery.Client()
        read = {str(source.table)}
        if source.query is not None:  # BigQuery checks it without running it
            config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
            job = client.query(_sql(source, datetime.now(UTC) - _RECENT), job_config=config)
            if job.statement_type != "SELECT":
                raise DataError(f"{source.uri}: the SQL is {job.statement_type}; write one SELECT")
            read = {f"{one.project}.{one.dataset_id}.{one.table_id}" for one in job.referenced_tables}
        return [(name, client.get_table(name)) for name in sorted(read)]
    except (GoogleAPIError, GoogleAuthError) as error:
        raise DataError(f"{source.uri}: BigQuery refuses: {error}") from error


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
