"""The log's columns, and the Parquet files of rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

if TYPE_CHECKING:
    import pyarrow as pa

# Rows turn into Arrow's in one call that holds the interpreter's lock: few at a time, so that no prediction waits long.
CHUNK_ROWS = 100
CHUNK_BYTES = 1 << 20


@cache
def schema() -> pa.Schema:
    """The schema for all models and versions; `model` and `date` are folders, as BigQuery wants them."""
    import pyarrow as pa

    kinds = {"ints": pa.int64(), "floats": pa.float64(), "strings": pa.string(), "bytes": pa.binary()}
    lists = [pa.field(kind, pa.list_(of)) for kind, of in kinds.items()]
    values = pa.struct([pa.field("name", pa.string(), nullable=False), *lists])
    return pa.schema(
        [
            pa.field("request_id", pa.string(), nullable=False),
            pa.field("instance", pa.int64(), nullable=False),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("version", pa.int64()),
            pa.field("protocol", pa.string(), nullable=False),
            pa.field("method", pa.string(), nullable=False),
            pa.field("signature", pa.string(), nullable=False),
            pa.field("latency_seconds", pa.float64(), nullable=False),
            pa.field("features", pa.list_(values)),
            pa.field("classes", pa.list_(pa.string())),
            pa.field("scores", pa.list_(pa.float64())),
            pa.field("outputs", pa.list_(values)),
            pa.field("error", pa.string()),
        ]
    )


def folder_of(model: str, started: float) -> str:
    """The folder of a call below the sink; dates are UTC."""
    return f"model={quote(model, safe='')}/date={datetime.fromtimestamp(started, UTC):%Y-%m-%d}"


class LogFile:
    """Rows of one folder until they are written; not safe for several threads.

    Attributes:
        name: A unique name below the sink; names sort by time.
        opened: When the first row came, by the caller's clock.
        calls: Number of calls.
    """

    def __init__(self, folder: str, opened: float) -> None:
        self.name = f"{folder}/{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:16]}.parquet"
        self.opened = opened
        self.calls = 0
        self._rows: list[tuple[Any, ...]] = []
        self._row_bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._batch_bytes = 0

    @property
    def memory_bytes(self) -> int:
        """Approximate memory of the rows."""
        return self._row_bytes + self._batch_bytes

    def append(self, rows: Sequence[tuple[Any, ...]], size: int) -> None:
        """Adds the rows of one call, whose request and response have `size` bytes."""
        self.calls += 1
        self._rows.extend(rows)
        self._row_bytes += size
        if len(self._rows) >= CHUNK_ROWS or self._row_bytes >= CHUNK_BYTES:
            self._convert()

    def parquet(self) -> bytes:
        """The content of the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._convert()
        content = pa.BufferOutputStream()
        # One row group, not one for each batch.
        table = pa.Table.from_batches(self._batches, schema()).combine_chunks()
        pq.write_table(table, content, compression="zstd")
        whole: bytes = content.getvalue().to_pybytes()
        return whole

    def _convert(self) -> None:
        import pyarrow as pa

        # Taken first: rows that Arrow refuses must not spoil those that come later.
        rows, self._rows, self._row_bytes = self._rows, [], 0
        for start in range(0, len(rows), CHUNK_ROWS):
            columns = zip(schema().names, zip(*rows[start : start + CHUNK_ROWS], strict=True), strict=True)
            self._batches.append(pa.RecordBatch.from_pydict(dict(columns), schema()))
            self._batch_bytes += self._batches[-1].nbytes
