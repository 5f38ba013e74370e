"""The request log as a table of BigQuery: docs/decisions/0009-request-log-schema.md has its definition."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.examples.bigquery import SCHEME, open_table
from slipway.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from slipway.monitoring.window import Window

_KINDS = {"ints": pa.int64(), "floats": pa.float64(), "strings": pa.string(), "bytes": pa.binary()}
_FEATURES = pa.list_(pa.struct([("name", pa.string()), *((kind, pa.list_(of)) for kind, of in _KINDS.items())]))
_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("instance", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("version", pa.int64()),
        ("features", _FEATURES),
        ("classes", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float64())),
        ("error", pa.string()),
    ]
)


def is_table(log_uri: str) -> bool:
    """Whether the log is a table, `bq://project.dataset.table`."""
    return log_uri.startswith(SCHEME)


def check_table(log_uri: str) -> None:
    """ConfigError for a name that is not complete."""
    if log_uri.removeprefix(SCHEME).count(".") != 2:
        raise ConfigError(f"request_log = {log_uri!r}: write bq://project.dataset.table")


def read_window(
    log_uri: str, model: str, window: Window, columns: Collection[str], rows: int
) -> Iterator[pa.RecordBatch]:
    """These columns of a window's rows, in batches of `rows` rows, in the same order each time.

    Raises:
        StoreError: BigQuery refuses; the message is BigQuery's.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        asked = requests_of(open_table(log_uri.removeprefix(SCHEME)), model, window, columns)
        for batch in asked.to_pyarrow_batches(chunk_size=rows):
            if batch.num_rows:
                yield _as_logged(batch)
    except (GoogleAPIError, GoogleAuthError) as error:
        raise StoreError(f"{log_uri}: BigQuery refuses: {error}") from error


def requests_of(table: Any, model: str, window: Window, columns: Collection[str]) -> Any:
    """The query, as an expression of Ibis; each row is in the folder of its own day."""
    days = [moment.date() for moment in (window.start, window.end - timedelta(microseconds=1))]
    asked = table.filter(
        table.model == model, table.date.between(*days), table.time >= window.start, table.time < window.end
    )
    names = [name for name in _SCHEMA.names if name in columns]
    return asked.order_by("request_id", "instance").select(*names)


def _as_logged(batch: pa.RecordBatch) -> pa.RecordBatch:
    """BigQuery has no null arrays: those of a call that failed are empty there."""
    kinds = pa.schema([_SCHEMA.field(name) for name in batch.schema.names])
    [found] = pa.Table.from_batches([batch]).cast(kinds).combine_chunks().to_batches()
    if "features" not in kinds.names:
        return found
    answered = pc.is_null(found.column("error"))
    features = pc.if_else(answered, found.column("features"), pa.scalar(None, _FEATURES))
    return found.set_column(kinds.get_field_index("features"), "features", features)
