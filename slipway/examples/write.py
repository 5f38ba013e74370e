"""Writes a split's Parquet files."""

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
        self._writer: Any = None
        self._file_rows = 0
        (folder / f"split={split}").mkdir()

    def add(self, rows: pa.RecordBatch) -> None:
        """Takes rows; the writer gathers them to row groups of one size."""
        import pyarrow.parquet as pq

        if self._writer is None:
            self._path = self._root / f"split={self._split}" / f"part-{len(self.files):05d}.parquet"
            self._writer = pq.ParquetWriter(self._path, self.schema)
        room = FILE_ROWS - self._file_rows
        self._writer.write_batch(rows.slice(0, room), row_group_size=ROW_GROUP_ROWS)
        self._file_rows += min(room, rows.num_rows)
        if self._file_rows == FILE_ROWS:
            self._end_file()
        if rows.num_rows > room:
            self.add(rows.slice(room))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends the last file; there is one at least, perhaps without rows."""
        if kind is None:
            if self._writer is None and not self.files:
                self.add(self.schema.empty_table().to_batches()[0])
            self._end_file()
        elif self._writer is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()

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
