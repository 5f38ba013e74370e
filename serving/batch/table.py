"""A table of BigQuery as the destination: the parts are loaded by one job, so that it has all rows or none.

The table's description names the job that filled it. By that a job that was killed right after the load knows its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.batch.job import Job
from slipway.data.examples.bigquery import SCHEME
from slipway.errors import StoreError
from slipway.stores import storage


def describe_table(job: Job) -> str:
    """The description of a table that a job filled."""
    return f"Slipway job {job.digest}: version {job.version} of {job.model}, model {job.model_digest}"


def is_loaded(job: Job, client: Any = None) -> bool:
    """Whether the table has the predictions of this job.

    Raises:
        StoreError: it has other rows, or BigQuery refuses.
    """
    from google.api_core.exceptions import GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError

    try:
        found = (client or _connect()).get_table(job.to.removeprefix(SCHEME))
    except NotFound:
        return False
    except (GoogleAPIError, GoogleAuthError) as error:
        raise StoreError(f"{job.to}: BigQuery refuses: {error}") from error
    if found.description == describe_table(job):
        return True
    if found.num_rows:
        raise StoreError(f"{job.to} has {found.num_rows:,} rows that another job wrote: name another table as --to, or "
                         "delete it")  # fmt: skip
    return False


def load_table(job: Job, parts: list[str], join: Callable[[Path], None], client: Any = None) -> None:
    """Loads the parts into the table; those of this machine are joined, since one job loads one file.

    Raises:
        StoreError: BigQuery refuses; the message is BigQuery's.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    client, table = client or _connect(), job.to.removeprefix(SCHEME)
    if is_loaded(job, client):
        return
    lists = bigquery.ParquetOptions()
    lists.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_EMPTY,
        parquet_options=lists,
        destination_table_description=describe_table(job),
    )
    try:
        if storage.is_remote(parts[0]):
            client.load_table_from_uri([one.partition("?")[0] for one in parts], table, job_config=config).result()
        else:
            path = storage.local_path(storage.join(job.work, "joined.parquet"))
            join(path)
            with path.open("rb") as file:
                client.load_table_from_file(file, table, job_config=config).result()
    except (GoogleAPIError, GoogleAuthError) as error:
        raise StoreError(f"{job.to}: BigQuery refuses to load the predictions: {error}") from error


def _connect() -> Any:
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import bigquery

    try:
        return bigquery.Client()
    except (GoogleAuthError, OSError) as error:  # no login, or no project
        raise StoreError(f"BigQuery cannot be reached: {error}") from error
