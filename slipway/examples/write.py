"""Writes a split's Parquet files, the same bytes for the same rows however they arrive."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from slipway.examples.dataset import DataFile, Split

if TYPE_CHECKING:
    import pyarrow as pa

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
        """Takes rows; they are written in groups of one size, so that batches leave no trace in the files."""
        import pyarrow as pa

        self._waiting.append(rows)
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(self._waiting, self.schema)
            while table.num_rows >= ROW_GROUP_ROWS:
                self._write(table.slice(0, ROW_GROUP_ROWS))
                table = table.slice(ROW_GROUP_ROWS)
            self._waiting, self._waiting_rows = table.to_batches(), table.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes what is left, one file at least; after an exception nothing more."""
        import pyarrow as pa

        if kind is not None:
            if self._writer is not None:
                with suppress(OSError):  # the disk may be full
                    self._writer.close()
            return
        if self._waiting_rows or (self._writer is None and not self.files):
            self._write(pa.Table.from_batches(self._waiting, self.schema))
        self._end_file()

    def _write(self, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        if self._writer is None:
            path = self._root / f"split={self._split}" / f"part-{len(self.files):05d}.parquet"
            self._writer = pq.ParquetWriter(path, self.schema)
            self._path = path
        self._writer.write_table(table.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        self.rows += table.num_rows
        self._file_rows += table.num_rows
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
        self._writer, self._file_rows = None, 0
