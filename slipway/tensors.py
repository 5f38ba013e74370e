"""The one door between Arrow columns and what a served model takes.

`raw` takes one dense tensor per feature, with a marker where the value is missing: NaN for floats, the smallest
int64 for integers, the empty string for bytes. The exported model turns the markers back into missing values, so
a client may leave a feature out. The same values count as missing in the training data, so both see the same.

A feature is single-valued (`[batch]`), of a fixed shape (`[batch, *shape]`) or a list (`[batch, longest]`, padded
with the marker); the schema says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slipway.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

MISSING_INT = int(np.iinfo(np.int64).min)
MISSING_FLOAT = float("nan")
MISSING_BYTES = b""

DType = Literal["float32", "int64", "string"]
_DTYPES: dict[int, DType] = {1: "string", 2: "int64", 3: "float32"}
_MARKERS: dict[DType, float | int | bytes] = {
    "float32": MISSING_FLOAT,
    "int64": MISSING_INT,
    "string": MISSING_BYTES,
}


def dtype_of(feature: schema_pb2.Feature) -> DType:
    """TensorFlow's name of the feature's type.

    Raises:
        ConfigError: the schema gives the feature no type, or a struct.
    """
    if feature.type not in _DTYPES:
        raise ConfigError(f"schema: feature {feature.name!r} needs a type: BYTES, INT or FLOAT")
    return _DTYPES[feature.type]


def marker_of(feature: schema_pb2.Feature) -> float | int | bytes:
    """The value that means missing in `raw`."""
    return _MARKERS[dtype_of(feature)]


def fixed_shape(feature: schema_pb2.Feature) -> tuple[int, ...]:
    """The shape of one example's value; empty if the schema fixes none, or fixes a scalar."""
    return tuple(dim.size for dim in feature.shape.dim)


def is_list(feature: schema_pb2.Feature) -> bool:
    """Whether an example may hold more than one value, and how many is not fixed."""
    if feature.HasField("shape") or not feature.HasField("value_count"):
        return False
    return bool(feature.value_count.max != 1)


def list_columns(batch: pa.RecordBatch | pa.Table, features: Sequence[schema_pb2.Feature]) -> pa.Table:
    """Columns as TensorFlow Transform and tf.Example take them: lists of float32, int64 or binary.

    A missing value is an empty list; in a fixed shape, which has no room for that, it is the marker.

    Args:
        batch: Rows; a column that is no feature is dropped, a feature without a column is missing everywhere.
        features: `slipway.schema.io.model_inputs(schema)`.

    Raises:
        DataError: a column cannot be cast to the type of the schema.
    """
    import pyarrow as pa

    table = pa.table(batch.columns, schema=batch.schema) if isinstance(batch, pa.RecordBatch) else batch
    return pa.table({feature.name: _as_lists(_column(table, feature), feature) for feature in features})


def serialize_examples(
    batch: pa.RecordBatch | pa.Table, features: Sequence[schema_pb2.Feature]
) -> list[bytes]:
    """One serialized tf.Example per row, for `serving_default`; a missing value is an empty list.

    Args and errors are those of `list_columns`. TensorFlow is not imported.
    """
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    encoder = RecordBatchToExamplesEncoder()
    chunks = list_columns(batch, features).combine_chunks().to_batches()
    return [example for chunk in chunks for example in encoder.encode(chunk)]


def raw_inputs(
    batch: pa.RecordBatch | pa.Table, features: Sequence[schema_pb2.Feature]
) -> dict[str, NDArray[Any]]:
    """Named arrays for the signature `raw`, with markers for missing values.

    Args and errors are those of `list_columns`.

    Returns:
        float32, int64 or object (bytes) arrays: `[rows]`, `[rows, *shape]` or `[rows, longest]` (at least 1).
    """
    lists = list_columns(batch, features)
    return {feature.name: _dense(lists[feature.name].combine_chunks(), feature) for feature in features}


def _column(table: pa.Table, feature: schema_pb2.Feature) -> pa.Array:
    import pyarrow as pa

    if feature.name not in table.column_names:
        return pa.nulls(table.num_rows)
    column = table[feature.name].combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _as_lists(column: pa.Array, feature: schema_pb2.Feature) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    nested = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    values = _cast(column.flatten() if nested else column, feature)
    dtype = dtype_of(feature)
    marker = pa.scalar(marker_of(feature), values.type)
    if fixed_shape(feature) and nested:
        values = values.fill_null(marker)
        kept = pa.repeat(True, len(values))
    elif dtype == "float32":
        kept = pc.fill_null(pc.invert(pc.is_nan(values)), False)
    else:
        kept = pc.fill_null(pc.not_equal(values, marker), False)
    ends = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False), dtype=np.int64)])
    if nested:
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        ends = ends[np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])]
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values.filter(kept))


def _cast(values: pa.Array, feature: schema_pb2.Feature) -> pa.Array:
    import pyarrow as pa

    dtype = dtype_of(feature)
    try:
        if dtype == "float32":
            return values.cast(pa.float32(), safe=False)
        if dtype == "int64":
            return values.cast(pa.int64())
        if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
            values = values.cast(pa.string())
        return values.cast(pa.binary())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {feature.name!r} is {values.type} in the data but {dtype} in the schema: {error}"
        ) from error


def _dense(lists: pa.Array, feature: schema_pb2.Feature) -> NDArray[Any]:
    values = lists.values.to_numpy(zero_copy_only=False)
    ends = lists.offsets.to_numpy()
    lengths = np.diff(ends)
    shape = fixed_shape(feature)
    width = int(np.prod(shape)) if shape else max(1, int(lengths.max(initial=0))) if is_list(feature) else 1
    if (lengths > width).any():
        row = int(np.argmax(lengths > width))
        raise DataError(
            f"column {feature.name!r} has {lengths[row]} values in row {row}; the schema allows {width}"
        )
    dense = np.full((len(lists), width), marker_of(feature), dtype=values.dtype)
    rows = np.repeat(np.arange(len(lists)), lengths)
    dense[rows, np.arange(len(values)) - np.repeat(ends[:-1], lengths)] = values
    if is_list(feature):
        return dense
    return dense.reshape(len(lists), *shape)
