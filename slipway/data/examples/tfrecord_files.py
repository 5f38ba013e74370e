"""TFRecord files of tf.Example as rows, without TensorFlow.

A feature that never holds more than one value becomes a plain column, any other a list; bytes that are UTF-8
throughout become text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.examples.rows import FILE, LINE, Opening, RawRows, check_reserved
from slipway.data.tfrecord import scan_records
from slipway.errors import DataError

BATCH_ROWS = 8192


@dataclass
class _Feature:
    """The type of one feature over all records."""

    kind: pa.DataType | None = None
    longest: int = 0
    is_text: bool = True

    def learn(self, name: str, column: pa.Array) -> None:
        if pa.types.is_null(column.type):
            return
        values = column.flatten()
        if self.kind is not None and self.kind != values.type:
            raise DataError(f"feature {name!r} holds {self.kind} in some records and {values.type} in others")
        self.kind = values.type
        self.longest = max(self.longest, pc.max(pc.list_value_length(column)).as_py() or 0)
        if self.is_text and _is_bytes(values.type):
            try:
                values.cast(pa.large_string())
            except pa.ArrowInvalid:
                self.is_text = False

    def column_type(self) -> pa.DataType:
        if self.kind is None:
            return pa.null()
        kind = pa.int64() if pa.types.is_integer(self.kind) else pa.float64()
        if _is_bytes(self.kind):
            kind = pa.string() if self.is_text else pa.binary()
        return pa.list_(kind) if self.longest > 1 else kind


def tfrecord_rows(opening: Opening) -> RawRows:
    """All records, which are read twice: first for their features. Damaged ones go to quarantine."""
    features: dict[str, _Feature] = {}
    for batch, _, _ in _decoded(opening, report=False):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            features.setdefault(name, _Feature()).learn(name, column)
    check_reserved(features, opening.source.uri)
    columns = [pa.field(name, feature.column_type()) for name, feature in sorted(features.items())]
    schema = pa.schema([*columns, pa.field(FILE, pa.string()), pa.field(LINE, pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch, name, numbers in _decoded(opening, report=True):
            places = [pa.array([name] * len(numbers), pa.string()), pa.array(numbers, pa.int64())]
            arrays = [*(_as_column(batch, column) for column in columns), *places]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return opening.rows_of(schema, batches())


Decoded = tuple[pa.RecordBatch, str, list[int]]  # records, the file's name, the records' numbers


def _decoded(opening: Opening, *, report: bool) -> Iterator[Decoded]:
    """Batches decoded by tfx_bsl; with `report`, damaged records go to quarantine."""
    for name, path in opening.files.items():
        waiting: list[bytes] = []
        numbers: list[int] = []
        for number, record, problem in scan_records(path, name):
            if not problem:
                waiting.append(record)
                numbers.append(number)
            elif report:
                opening.quarantine.add(name, number, problem, "")
            if len(waiting) == BATCH_ROWS:
                yield _decode(opening, name, waiting, numbers, report=report)
                waiting, numbers = [], []
        if waiting:
            yield _decode(opening, name, waiting, numbers, report=report)


def _decode(opening: Opening, name: str, records: list[bytes], numbers: list[int], *, report: bool) -> Decoded:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    decode = ExamplesToRecordBatchDecoder().DecodeBatch
    try:
        return decode(records), name, numbers
    except (ValueError, RuntimeError) as together:
        good: list[int] = []
        for index, record in enumerate(records):
            try:
                decode([record])
                good.append(index)
            except (ValueError, RuntimeError) as error:
                if report:
                    opening.quarantine.add(name, numbers[index], f"not a tf.Example: {error}", "")
        if len(good) == len(records):
            raise DataError(f"{name}: the records do not fit together: {together}") from together
        return _decode(opening, name, [records[i] for i in good], [numbers[i] for i in good], report=report)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _as_column(batch: pa.RecordBatch, column: pa.Field) -> pa.Array:
    """One feature of a batch in its column's type; a list of one value becomes the value."""
    index = batch.schema.get_field_index(column.name)
    if index < 0 or pa.types.is_null(batch.column(index).type):
        return pa.nulls(batch.num_rows, column.type)
    lists = batch.column(index)
    if pa.types.is_list(column.type):
        return lists.cast(column.type)
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    starts = pc.subtract(pc.cumulative_sum(lengths), lengths)
    places = pc.if_else(pc.greater(lengths, 0), starts, pa.scalar(None, starts.type))
    return lists.flatten().take(places).cast(column.type)
