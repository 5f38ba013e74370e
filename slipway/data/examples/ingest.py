"""Turns a source into examples: typed, labelled and split, with unreadable rows in quarantine.

Rows pass in batches: DuckDB parses, casts and evaluates the label; two Parquet writers write. The bytes written depend
only on the rows, their order and this code.

- A row that cannot be read goes to quarantine. How many may be there, and whether a split may be empty, is for
  validation to say, whose page shows it: a step that fails leaves nothing that a platform's UI would show.
- A row without a label is left out and counted as unlabelled.
- Booleans become int64 0 and 1. The column of a `column` split is not a feature and is left out.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from slipway.data.database import connect
from slipway.data.examples.columns import taken_columns
from slipway.data.examples.dataset import MANIFEST, QUARANTINE, SPLITS, DataFile, Manifest, RowCounts
from slipway.data.examples.encoded_images import decode_images
from slipway.data.examples.query import RAW, REASON, RowQuery
from slipway.data.examples.read import MEMORY_LIMIT, THREADS, open_source
from slipway.data.examples.rows import FILE, LINE, Quarantine, UnsoundRowsError
from slipway.data.examples.source import Source, digest_of
from slipway.data.examples.split_rows import SPELT, as_mask, assign_splits
from slipway.data.images import with_shapes
from slipway.data.tensors import curated_shapes
from slipway.errors import DataError, StoreError
from slipway.module_api import ColumnSplit, GroupSplit, Ingestion, Label, Split, Task
from slipway.stores import storage
from slipway.stores.artifacts import clear_artifact

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

BATCH_ROWS = 65_536
ROW_GROUP_ROWS = 131_072
FILE_ROWS = 8 * ROW_GROUP_ROWS
SAMPLE_ROWS = 5_000
SHOWN_VALUES = 10
SCRATCH = "slipway-ingest-"


class IngestConfig(BaseModel):
    """The parts of `module.yaml` that decide how rows become examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    label: Label
    split: Split
    ingestion: Ingestion


def ingest_source(
    source: Source,
    config: IngestConfig,
    schema: schema_pb2.Schema | None,
    examples_path: str | Path,
) -> Manifest:
    """Writes the examples artifact of a source; a failure leaves nothing but `quarantine.jsonl`.

    Raises:
        DataError: the source cannot be read, it has no rows, or a column is missing.
        ConfigError: the split does not fit the data.
        StoreError: the artifact, or a temporary file, cannot be written.
    """
    folder = Path(examples_path)
    try:
        with _clear_errors(source, folder):
            try:
                manifest = _write(source, config, schema, folder, careful=False)
            except UnsoundRowsError:
                manifest = _write(source, config, schema, folder, careful=True)
            storage.write_text(str(folder / MANIFEST), manifest.model_dump_json(indent=1))
            return manifest
    except BaseException:
        for split in SPLITS:
            shutil.rmtree(folder / f"split={split}", ignore_errors=True)
        raise


def _write(
    source: Source, config: IngestConfig, schema: schema_pb2.Schema | None, folder: Path, *, careful: bool
) -> Manifest:
    """Reads every row and writes it to its split; the manifest says what was written."""
    clear_artifact(folder, MANIFEST)
    quarantine = Quarantine(folder / QUARANTINE)
    usable, unlabelled, spelt = 0, 0, Counter[str | None]()
    writers: list[_SplitWriter] = []
    with (
        closing(quarantine),
        tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch,
        connect(f"{scratch}/duckdb", memory_limit=MEMORY_LIMIT, threads=THREADS) as connection,
        ExitStack() as open_writers,
    ):
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET streaming_buffer_size = '64MB'")  # room for more than one thread to read ahead
        typed = open_source(connection, source, schema, config.ingestion, quarantine, Path(scratch), careful=careful)
        query = RowQuery(connection, typed, config.label, config.split, config.task, config.ingestion, source.uri)
        shapes = curated_shapes(schema) | dict(typed.rows.shapes)
        for batch in read_ahead(query.batches(BATCH_ROWS)):
            rows = set_aside(decode_images(batch, shapes), quarantine)
            labelled = rows.filter(rows.column(config.label.column).is_valid())
            usable, unlabelled = usable + rows.num_rows, unlabelled + rows.num_rows - labelled.num_rows
            if isinstance(config.split, ColumnSplit):
                spelt.update(labelled.column(SPELT).to_pylist())
            splits = assign_splits(labelled, config.split, query.own_columns)
            examples = labelled.select(query.example_columns)
            examples = examples.cast(with_shapes(examples.schema, shapes))
            if not writers:
                writers = [open_writers.enter_context(_SplitWriter(folder, name, examples.schema)) for name in SPLITS]
            for code, writer in enumerate(writers):
                writer.add(examples.filter(as_mask(splits == code)))
    if not usable + quarantine.count:
        raise DataError(f"{source.uri}: there are columns, but no rows; was the file written to its end?")
    train, evaluation = (writer.rows for writer in writers) if writers else (0, 0)
    left_out = usable - train - evaluation
    files = [file for writer in writers for file in writer.files]
    return Manifest(
        source=source.model_dump(mode="json"),
        rows=RowCounts(
            read=usable + quarantine.count,
            quarantined=quarantine.count,
            left_out=left_out,
            unlabelled=unlabelled,
            ungrouped=left_out - unlabelled if isinstance(config.split, GroupSplit) else 0,
            train=train,
            eval=evaluation,
        ),
        files=files,
        columns={field.name: str(field.type) for field in writers[0].schema} if writers else {},
        label=config.label.column,
        weight=config.label.weight or "",
        digest=digest_of(*(file.sha256 for file in files)),
        max_quarantined=config.ingestion.max_quarantined,
        split_values={str(value): count for value, count in spelt.most_common(SHOWN_VALUES)},
        taken=taken_columns(config.split, config.ingestion),
    )


def write_sample(manifest: Manifest, examples_path: str | Path, sample_path: str | Path) -> None:
    """Writes the first rows of the eval split, in a file of the same name, for steps that need some rows, not all."""
    clear_artifact(sample_path, MANIFEST)
    names = [file.path for file in manifest.files if file.path.startswith("split=eval/")]
    for name in names[:1]:  # none, if no row could be read
        (Path(sample_path) / name).parent.mkdir()
        with (
            pq.ParquetFile(Path(examples_path) / name) as parquet,
            pq.ParquetWriter(Path(sample_path) / name, parquet.schema_arrow) as writer,
        ):
            for batch in islice(parquet.iter_batches(SAMPLE_ROWS), 1):
                writer.write_batch(batch)
    storage.write_text(str(Path(sample_path) / MANIFEST), manifest.model_dump_json(indent=1))


class _SplitWriter:
    """Writes `split=<name>/part-00000.parquet` and on, each of at most `FILE_ROWS` rows.

    Row groups have one size, so that the bytes do not depend on the batches.
    """

    def __init__(self, root: Path, split: str, schema: pa.Schema) -> None:
        self.schema = schema
        self.files: list[DataFile] = []
        self._root, self._folder = root, root / f"split={split}"
        self._waiting = pa.Table.from_batches([], schema)  # `empty_table` would import pandas
        self._writer: Any = None
        self._folder.mkdir()

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def add(self, rows: pa.RecordBatch) -> None:
        self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([rows])])
        while self._waiting.num_rows >= ROW_GROUP_ROWS:
            self._write(self._waiting.slice(0, ROW_GROUP_ROWS))
            self._waiting = self._waiting.slice(ROW_GROUP_ROWS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self._waiting.num_rows or not self.rows:  # an empty split has a file too: it tells the columns
                self._write(self._waiting)
            self._end_file()
        elif self._writer is not None:
            with suppress(OSError):  # the disk may be full
                self._writer.close()

    def _write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._path, self._file_rows = self._folder / f"part-{len(self.files):05d}.parquet", 0
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
        self._writer = None


def read_ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches, each read while the one before is processed."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def set_aside(rows: pa.RecordBatch, quarantine: Quarantine) -> pa.RecordBatch:
    """The usable rows; the others go to quarantine."""
    reasons = rows.column(REASON)
    if reasons.null_count == rows.num_rows:
        return rows
    bad = rows.filter(reasons.is_valid()).select([FILE, LINE, REASON, RAW])
    for file, line, reason, raw in zip(*(column.to_pylist() for column in bad.columns), strict=True):
        quarantine.add(file, line, reason, raw or "")
    return rows.filter(reasons.is_null())


@contextmanager
def _clear_errors(source: Source, folder: Path) -> Iterator[None]:
    """Translates errors of the system and of DuckDB; on a full disk the quarantine is deleted."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        said = str(error).partition("\n")[0]
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in said:
            (folder / QUARANTINE).unlink(missing_ok=True)
            full = min(folder, Path(tempfile.gettempdir()), key=lambda place: shutil.disk_usage(place).free)
            raise StoreError(f"{full}: the disk is full; nothing was written. Make room, then run again") from error
        if _is_ours(error, folder):
            raise StoreError(f"{folder}: the examples of {source.uri} cannot be written: {said}") from error
        raise DataError(f"{source.uri} cannot be read: {said}") from error


def _is_ours(error: Exception, folder: Path) -> bool:
    """Whether writing failed, of the artifact or a temporary file, rather than reading the data."""
    # A failed write has an errno and no file name; a failed open has a name; a damaged file has no errno.
    named = str(folder) in str(error) or SCRATCH in str(error)
    if isinstance(error, OSError):
        return named or bool(error.errno and not error.filename)
    return isinstance(error, duckdb.OutOfMemoryException) or (named and isinstance(error, duckdb.IOException))
