"""Writes a split's Parquet files: the same bytes for the same rows."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from slipway.data.examples.dataset import DataFile, Split

ROW_GROUP_ROWS = 131_072
FILE_ROWS = 8 * ROW_GROUP_ROWS


class SplitWriter:
    """`split=<name>/part-00000.parquet` and on, each of at most `FILE_ROWS` rows."""

    def __init__(self, folder: Path, split: Split, schema: pa.Schema) -> None:
        self.rows = 0
        self.files: list[DataFile] = []
        self._root = folder
        self._split = split
        self.schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._writer: Any = None
        self._file_rows = 0
        (folder / f"split={split}").mkdir()

    def add(self, rows: pa.RecordBatch) -> None:
        """Takes rows. Row groups have one size, so that the bytes do not depend on the batches."""
        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(self._waiting)
            whole = table.num_rows - table.num_rows % ROW_GROUP_ROWS
            for start in range(0, whole, ROW_GROUP_ROWS):
                self._write(table.slice(start, ROW_GROUP_ROWS))
            self._waiting = table.slice(whole).to_batches()
            self._waiting_rows = table.num_rows - whole

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes the remaining rows and closes the last file; there is at least one file, perhaps without rows."""
        if kind is None:
            if self._waiting_rows or (self._writer is None and not self.files):
                self._write(pa.Table.from_batches(self._waiting, self.schema))
            self._end_file()
        elif self._writer is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()

    def _write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._path = self._root / f"split={self._split}" / f"part-{len(self.files):05d}.parquet"
            self._writer = pq.ParquetWriter(self._path, self.schema)
        self._writer.write_table(rows.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        self._file_rows += rows.num_rows
        if self._file_rows >= FILE_ROWS:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = self._path.relative_to(self._root).as_posix()
        self.files.append(DataFile(path=name, rows=self._file_rows, sha256=digest))
        self.rows += self._file_rows
        self._writer, self._file_rows = None, 0
