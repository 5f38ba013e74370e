"""The rows of a job in units: row groups of Parquet files, which any process reads without the others.

Data in Parquet are read as they lie, on gs:// the row groups that are needed alone. Other data, and those that shared
features are joined to, become one Parquet file in the work folder first, by the readers of ingestion.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel
from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.database import connect, literal
from slipway.data.examples.encoded_images import decode_images
from slipway.data.examples.ingest import ROW_GROUP_ROWS, read_ahead, set_aside
from slipway.data.examples.partitions import find_partitions
from slipway.data.examples.query import RAW, REASON, RowQuery
from slipway.data.examples.read import MEMORY_LIMIT, THREADS, open_source, type_rows
from slipway.data.examples.rows import (
    BATCH,
    FILE,
    KEPT,
    LINE,
    Quarantine,
    RawRows,
    UnsoundRowsError,
    check_names,
    describe,
)
from slipway.data.examples.source import Source
from slipway.data.examples.typed_rows import TypedRows
from slipway.data.tensors import arrow_type, curated_shapes, dtype_of
from slipway.errors import DataError
from slipway.module_api import HashSplit, Ingestion
from slipway.stores import storage

UNIT_ROWS = 262_144
BATCH_ROWS = 65_536
ROWS, QUARANTINED = "rows.parquet", "rows.quarantine.jsonl"


class Unit(BaseModel):
    """Row groups `first` to before `end` of a file; `before` rows of the file precede them."""

    index: int
    file: str
    first: int
    end: int
    before: int
    rows: int


class Plan(BaseModel):
    """All units; `columns` is the Arrow schema that the files have together, `staged` are rows that were copied."""

    units: list[Unit]
    columns: str
    staged: bool = False
    quarantined: int = 0

    @property
    def schema(self) -> pa.Schema:
        """The columns of the files."""
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.columns)))

    @property
    def rows(self) -> int:
        """Rows that can be read, without those that staging quarantined."""
        return sum(unit.rows for unit in self.units)


def plan_units(source: Source, schema: schema_pb2.Schema, ingestion: Ingestion, work: str) -> Plan:
    """The units of a source, of which data in other formats are copied into the work folder.

    Raises:
        DataError: the data cannot be read.
    """
    if source.format == "parquet" and not source.features:
        return _units_of([file.uri for file in source.files], source.uri)
    staged = storage.join(work, ROWS)
    try:
        quarantined = _stage(source, schema, ingestion, work, careful=False)
    except UnsoundRowsError:
        quarantined = _stage(source, schema, ingestion, work, careful=True)
    plan = _units_of([staged], source.uri)
    return plan.model_copy(update={"staged": True, "quarantined": quarantined})


def _units_of(files: Sequence[str], where: str) -> Plan:
    schemas, units = [], list[Unit]()
    for file in files:
        with open_parquet(file) as parquet:
            schemas.append(parquet.schema_arrow.remove_metadata())
            sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        first = before = rows = 0
        for end, size in enumerate(sizes, 1):
            rows += size
            if rows and (end == len(sizes) or rows + sizes[end] > UNIT_ROWS):
                units.append(Unit(index=len(units), file=file, first=first, end=end, before=before, rows=rows))
                first, before, rows = end, before + rows, 0
    try:
        columns = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{where}: the files' columns do not fit together: {error}") from error
    if not units:  # a file all the same, which tells the columns
        units = [Unit(index=0, file=files[0], first=0, end=0, before=0, rows=0)]
    return Plan(units=units, columns=base64.b64encode(columns.serialize().to_pybytes()).decode())


@contextmanager
def open_parquet(uri: str) -> Iterator[Any]:
    """A Parquet file, of which only what is asked for is read; DataError if it is damaged."""
    try:
        with ExitStack() as stack:
            remote = stack.enter_context(storage.open_read(uri)) if storage.is_remote(uri) else None
            yield stack.enter_context(pq.ParquetFile(remote or storage.local_path(uri)))
    except FileNotFoundError as error:
        raise DataError(f"{uri}: the file was there when the source was resolved, and is gone now") from error
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's; a damaged file has none
            raise
        said = str(error).partition("\n")[0]
        raise DataError(f"{uri}: not a whole Parquet file; fetch it again: {said}") from error


def _stage(source: Source, schema: schema_pb2.Schema, ingestion: Ingestion, work: str, *, careful: bool) -> int:
    """Copies the rows to Parquet, with the file and line of each; returns how many went to quarantine."""
    with TemporaryDirectory(prefix="slipway-batch-") as folder, ExitStack() as stack:
        quarantine = stack.enter_context(closing(Quarantine(Path(folder) / QUARANTINED)))
        connection = stack.enter_context(_connect(folder))
        typed = open_source(connection, source, schema, ingestion, quarantine, Path(folder), careful=careful)
        names = list(typed.rows.types)
        kept: list[str] = []
        if source.format != "csv":  # as they are; a unit converts what the model needs
            kept, typed = names, TypedRows(typed.rows, [], frozenset())
        query = RowQuery(connection, typed, None, HashSplit(), "regression", ingestion, source.uri, kept)
        path = stack.enter_context(storage.creating(storage.join(work, ROWS), work))
        writer = None
        for batch in read_ahead(query.batches(ROW_GROUP_ROWS)):
            rows = set_aside(batch, quarantine)
            columns = [rows.column(KEPT + name if kept else name) for name in names]
            table = pa.table([*columns, rows.column(FILE), rows.column(LINE).cast("int64")], [*names, FILE, LINE])
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        if writer is None:
            empty = pa.schema([*((name, pa.null()) for name in names), (FILE, pa.string()), (LINE, pa.int64())])
            pq.write_table(pa.Table.from_batches([], empty), path)
        quarantine.close()
        if quarantine.count:
            storage.copy(str(quarantine.path), storage.join(work, QUARANTINED))
        return quarantine.count


@contextmanager
def _connect(folder: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(f"{folder}/duckdb", memory_limit=MEMORY_LIMIT, threads=THREADS) as connection:
        connection.execute("SET enable_progress_bar = false")
        yield connection


@dataclass(frozen=True)
class Rows:
    """A batch: the model's inputs, the columns that are kept, both of the rows that can be read; and the others."""

    inputs: pa.RecordBatch
    kept: pa.RecordBatch
    places: pa.RecordBatch = field(repr=False)
    bad: list[tuple[str, int | None, str, str]] = field(default_factory=list)


class UnitReader:
    """Reads the rows of units with the types of the version's inputs.

    Args:
        source: The data.
        plan: Their units.
        schema: With the features that the model takes.
        ingestion: Of module.yaml.
        kept: Columns that are kept beside.
    """

    def __init__(
        self, source: Source, plan: Plan, schema: schema_pb2.Schema, ingestion: Ingestion, kept: Collection[str]
    ) -> None:
        self._source, self._plan, self._schema = source, plan, schema
        self._ingestion = ingestion.model_copy(update={"ignore": (), **({"missing_values": ()} if plan.staged else {})})
        self._inputs = [feature.name for feature in schema.feature]
        self._partitions = {} if plan.staged else find_partitions(source)
        own = [name for name in plan.schema.names if name not in (FILE, LINE)]
        if not plan.staged:
            check_names(own, source.uri)
        self.columns = [*own, *(name for name in self._partitions if name.lower() not in map(str.lower, own))]
        self.kept = [name for name in self.columns if name in kept]

    def read(self, unit: Unit) -> Iterator[Rows]:
        """The rows of a unit, in batches of `BATCH_ROWS`; of a unit without rows, a batch without rows.

        Raises:
            DataError: the file is damaged, or a column has a type that the model cannot take.
        """
        wanted = [name for name in self.columns if name in self._inputs or name in self.kept]
        fields = [one for one in self._plan.schema if one.name in (*wanted, LINE, FILE)]
        if not self._plan.staged:
            fields.append(pa.field(LINE, pa.int64()))
        columns = pa.schema(fields)
        if unit.rows and self._needs_no_conversion(columns):
            yield from (self._as_it_is(batch, unit) for batch in _batches(unit, columns))
            return
        with TemporaryDirectory(prefix="slipway-batch-") as folder, _connect(folder) as connection:
            connection.register(BATCH, pa.Table.from_batches([], columns))
            types = describe(connection, BATCH)
            place = (FILE if self._plan.staged else literal(unit.file), LINE)
            raw = RawRows(BATCH, types, place, _batches(unit, columns))
            typed = type_rows(connection, self._source_of_types(), raw, self._schema, self._ingestion, self._inputs)
            query = RowQuery(
                connection, typed, None, HashSplit(), "regression", self._ingestion, self._source.uri, self.kept
            )
            shapes = curated_shapes(self._schema)
            inputs = [each.column for each in typed.conversions]
            for batch in query.batches(BATCH_ROWS) if unit.rows else [query.empty()]:
                yield _sorted_out(self._fitted(decode_images(batch, shapes)), inputs, self.kept)

    def _needs_no_conversion(self, columns: pa.Schema) -> bool:
        """Whether the inputs have the types of examples already: DuckDB would take as long to copy them as to read."""
        types = {schema_pb2.INT: pa.int64(), schema_pb2.FLOAT: pa.float64(), schema_pb2.BYTES: pa.string()}
        there = {one.name: one.type for one in columns}
        alike = all(
            there[one.name] == types[one.type] and not one.HasField("shape")
            for one in self._schema.feature
            if one.name in there
        )
        return alike and not self._partitions and not self._ingestion.missing_values

    def _as_it_is(self, batch: pa.RecordBatch, unit: Unit) -> Rows:
        """A batch whose inputs need no conversion; NaN and the empty text are missing, as in all examples."""
        inputs = [name for name in batch.schema.names if name in self._inputs]
        found = [_without_marks(batch.column(name)) for name in inputs]
        file = batch.column(FILE) if self._plan.staged else pa.repeat(unit.file, batch.num_rows)
        places = pa.RecordBatch.from_arrays([file, batch.column(LINE)], [FILE, LINE])
        return Rows(pa.RecordBatch.from_arrays(found, inputs), batch.select(self.kept), places)

    def _fitted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with inputs of the schema's kind of type; a column without values has any."""
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for feature in self._schema.feature:
            column = columns.get(feature.name)
            if column is None:
                continue
            kind = column.type.value_type if pa.types.is_list(column.type) else column.type
            is_text = pa.types.is_string(kind) or pa.types.is_binary(kind)
            if is_text != (feature.type == schema_pb2.BYTES):
                if column.null_count < len(column):
                    raise DataError(
                        f"{self._source.uri}: column {feature.name!r} holds {column.type}, and the model takes "
                        f"{dtype_of(feature)}; write the column as that"
                    )
                columns[feature.name] = pa.nulls(len(column), pa.string() if not is_text else arrow_type(feature))
        return pa.RecordBatch.from_pydict(columns)

    def _source_of_types(self) -> Source:
        """The source whose folders' names are columns: none of staged rows, which have them already."""
        return self._source.model_copy(update={"files": []}) if self._plan.staged else self._source


def _batches(unit: Unit, columns: pa.Schema) -> Generator[pa.RecordBatch]:
    """The rows of a unit as Arrow, in the types that all files have together, with the number of each in its file."""
    with open_parquet(unit.file) as parquet:
        wanted = set(columns.names)
        there = {name for name in parquet.schema_arrow.names if name in wanted}
        row = unit.before
        groups = range(unit.first, unit.end)
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(there)) if groups else ():
            found = [
                _cast(batch.column(one.name), one, unit.file) if one.name in there
                else pa.array(range(row + 1, row + 1 + batch.num_rows), pa.int64()) if one.name == LINE
                else pa.nulls(batch.num_rows, one.type)
                for one in columns
            ]  # fmt: skip
            row += batch.num_rows
            yield pa.RecordBatch.from_arrays(found, schema=columns)


def _cast(column: pa.Array, wanted: pa.Field, file: str) -> pa.Array:
    try:
        return column.cast(wanted.type)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{file}: column {wanted.name!r} is {column.type}, in other files it is {wanted.type}, and a value does "
            f"not fit: {error}; write all files with one type"
        ) from error


def _without_marks(column: pa.Array) -> pa.Array:
    if pa.types.is_integer(column.type):
        return column
    is_missing = pc.is_nan(column) if pa.types.is_floating(column.type) else pc.equal(column, "")
    return pc.if_else(is_missing, None, column) if pc.any(is_missing).as_py() else column


def _sorted_out(batch: pa.RecordBatch, inputs: Sequence[str], kept: Sequence[str]) -> Rows:
    reasons = batch.column(REASON)
    bad: list[tuple[str, int | None, str, str]] = []
    if reasons.null_count < batch.num_rows:
        wrong = batch.filter(reasons.is_valid())
        bad = list(zip(*(wrong.column(name).to_pylist() for name in (FILE, LINE, REASON, RAW)), strict=True))
        batch = batch.filter(reasons.is_null())
    return Rows(
        batch.select(inputs),
        batch.select([KEPT + name for name in kept]).rename_columns(list(kept)),
        batch.select([FILE, LINE]),
        bad,
    )
