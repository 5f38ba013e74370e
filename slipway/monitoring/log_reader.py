"""The request log of a model: the files that may hold requests of a window, of which no more is read than is needed.

The log's form is docs/decisions/0009-request-log-schema.md: each row is in the folder of its own day. Why a file on
a bucket is read by range is docs/decisions/0047-the-monitor-reads-a-log-by-range.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import IO, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slipway.errors import ConfigError, StoreError
from slipway.monitoring.bigquery_log import check_table, is_table, read_window
from slipway.monitoring.window import Window
from slipway.stores import storage

BATCH_ROWS = 10_000
WHOLE_BYTES = 1 << 20  # a remote file that is no larger is fetched in one request
MODEL = "model="


def check_log(uri: str) -> None:
    """Whether there is a log at a place; it may be empty, where nobody asked yet.

    Raises:
        ConfigError: it is no place of a log.
        StoreError: nothing is there, or something else.
    """
    if is_table(uri):
        check_table(uri)
        return
    if not uri or not (storage.in_bucket(uri) or "://" not in uri):
        raise ConfigError(
            f"request_log = {uri!r}: the monitor reads a log in a folder of this machine or in a bucket, or a "
            "table over one, bq://project.dataset.table; set request_log in settings/, or --log, to the place that the "
            "server's --request-log names"
        )
    names = storage.list_names(uri)
    fix = "correct --log, or request_log in settings/, to the place that the server's --request-log names"
    if not names and (storage.is_remote(uri) or not storage.exists(uri)):
        raise StoreError(
            f"{uri}: there is no log at this place; {fix}, unless nothing was asked yet, or all was removed since"
        )
    if names and not any(name.startswith(MODEL) for name in names):
        raise StoreError(f"{uri} is no log: it has no folder {MODEL}…, but {', '.join(names[:3])}; {fix}")


class LogReader:
    """Reads the requests of one model, window by window.

    A day's folder is listed once, and which times a file holds is remembered: windows of an hour share a day's files.

    Args:
        uri: The log's folder, local, gs:// or s3://, or a table, bq://project.dataset.table.
        model: The model's name.
    """

    def __init__(self, uri: str, model: str) -> None:
        self._uri, self._model = uri, model
        self._folders: dict[date, list[storage.StoredFile]] = {}
        self._times: dict[str, tuple[datetime, datetime]] = {}  # of a file, its first and last

    def parts(self, window: Window, columns: Collection[str]) -> Iterator[Iterator[pa.RecordBatch]]:
        """These columns of the window's requests, file by file; a table of BigQuery is one part.

        Whoever reads a part meets what is wrong with its file: ArrowInvalid or OSError if it is damaged, StoreError if
        it cannot be fetched.
        """
        if is_table(self._uri):
            yield read_window(self._uri, self._model, window, columns, BATCH_ROWS)
            return
        day, last = window.start.date(), (window.end - timedelta(microseconds=1)).date()
        while day <= last:
            for file in self._files(day):
                first, final = self._times.get(file.uri, (window.start, window.start))
                if first < window.end and final >= window.start:
                    yield self._batches(file, window, columns)
            day += timedelta(days=1)

    def _files(self, day: date) -> list[storage.StoredFile]:
        if day not in self._folders:
            folder = storage.join(self._uri, f"{MODEL}{quote(self._model, safe='')}", f"date={day:%Y-%m-%d}")
            self._folders[day] = [file for file in storage.list_files(folder) if file.name.endswith(".parquet")]
        return self._folders[day]

    def _batches(self, file: storage.StoredFile, window: Window, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
        """The rows that belong to the window; `error` is not there in files that older servers wrote."""
        with (
            _opened(file) as source,
            pq.ParquetFile(source, pre_buffer=storage.is_remote(file.uri)) as parquet,
        ):
            times = [_times_of(parquet.metadata.row_group(number)) for number in range(parquet.num_row_groups)]
            if times and None not in times:
                self._times[file.uri] = min(one[0] for one in times if one), max(one[1] for one in times if one)
            groups = [
                number
                for number, one in enumerate(times)
                if one is None or (one[0] < window.end and one[1] >= window.start)
            ]
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=[*columns, "time"]):
                time = batch.column("time")
                yield batch.filter(pc.and_(pc.greater_equal(time, window.start), pc.less(time, window.end)))


@contextmanager
def _opened(file: storage.StoredFile) -> Iterator[Any]:
    """What Arrow opens: a path, a small file's content, or a file of which it reads ranges."""
    if not storage.is_remote(file.uri):
        yield storage.local_path(file.uri)
    elif file.size <= WHOLE_BYTES:
        yield pa.BufferReader(storage.read_bytes(file.uri))
    else:
        source: IO[bytes] = storage.open_read(file.uri)
        with source:
            yield source


def _times_of(group: Any) -> tuple[datetime, datetime] | None:
    """The first and the last time of a row group; None where it does not say."""
    its = next(one for one in map(group.column, range(group.num_columns)) if one.path_in_schema == "time").statistics
    return (its.min, its.max) if its is not None and its.has_min_max else None
