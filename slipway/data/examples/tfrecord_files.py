"""TFRecord files of tf.Example as rows, without TensorFlow.

A feature that never holds more than one value becomes a plain column, any other a list; bytes that are UTF-8
throughout become text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.examples.quarantine import BadRow, Quarantine
from slipway.data.examples.rows import FILE, LINE
from slipway.data.tfrecord import scan_records
from slipway.errors import DataError

BATCH_ROWS = 8192


@dataclass
class _Feature:
    """The type of one feature over all records."""

    kind: pa.DataType | None = None
    longest: int = 0
    is_text: bool = True


@dataclass
class ExampleFiles:
    """The records of files, which are read twice: first for the features."""

    files: dict[str, Path]
    quarantine: Quarantine
    _features: dict[str, _Feature] = field(default_factory=dict)

    def schema(self) -> pa.Schema:
        """Reads all records for the columns they have.

        Raises:
            DataError: a feature is of several kinds, or a file is damaged beyond reading on.
        """
        for batch, _, _ in self._decoded(report=False):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                _learn(self._features.setdefault(name, _Feature()), name, column)
        columns = [pa.field(name, _column_type(feature)) for name, feature in sorted(self._features.items())]
        return pa.schema([*columns, pa.field(FILE, pa.string()), pa.field(LINE, pa.int64())])

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """All records as batches of that schema; those that are damaged go to quarantine."""
        for batch, name, numbers in self._decoded(report=True):
            columns = [_as_column(batch, column) for column in schema if column.name not in (FILE, LINE)]
            columns += [pa.array([name] * len(numbers), pa.string()), pa.array(numbers, pa.int64())]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _decoded(self, *, report: bool) -> Iterator[tuple[pa.RecordBatch, str, list[int]]]:
        """Batches decoded by tfx_bsl, with the file's name and the records' numbers."""
        from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

        decoder = ExamplesToRecordBatchDecoder()
        for name, path in self.files.items():
            waiting: list[bytes] = []
            numbers: list[int] = []
            for number, record, problem in scan_records(path, name):
                if problem and report:
                    self.quarantine.add(BadRow(name, number, problem, ""))
                if not problem:
                    waiting.append(record)
                    numbers.append(number)
                if len(waiting) == BATCH_ROWS:
                    yield self._decode(decoder, name, waiting, numbers, report=report)
                    waiting, numbers = [], []
            if waiting:
                yield self._decode(decoder, name, waiting, numbers, report=report)

    def _decode(
        self, decoder: object, name: str, records: list[bytes], numbers: list[int], *, report: bool
    ) -> tuple[pa.RecordBatch, str, list[int]]:
        decode = decoder.DecodeBatch  # type: ignore[attr-defined]
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
                        self.quarantine.add(BadRow(name, numbers[index], f"no tf.Example: {error}", ""))
            if len(good) == len(records):
                raise DataError(f"{name}: the records do not fit together: {together}") from together
            return self._decode(decoder, name, [records[i] for i in good], [numbers[i] for i in good], report=report)


def _learn(feature: _Feature, name: str, column: pa.Array) -> None:
    if pa.types.is_null(column.type):
        return
    values = column.flatten()
    if feature.kind is not None and feature.kind != values.type:
        raise DataError(f"feature {name!r} holds {feature.kind} in some records and {values.type} in others")
    feature.kind = values.type
    feature.longest = max(feature.longest, pc.max(pc.list_value_length(column)).as_py() or 0)
    if feature.is_text and _is_bytes(values.type):
        try:
            values.cast(pa.large_string() if pa.types.is_large_binary(values.type) else pa.string())
        except pa.ArrowInvalid:
            feature.is_text = False


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _column_type(feature: _Feature) -> pa.DataType:
    if feature.kind is None:
        return pa.null()
    if _is_bytes(feature.kind):
        kind = pa.string() if feature.is_text else pa.binary()
    else:
        kind = pa.int64() if pa.types.is_integer(feature.kind) else pa.float64()
    return pa.list_(kind) if feature.longest > 1 else kind


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
