"""The inputs of a model: their specification, and the conversion of Arrow columns to them; nothing else converts.

`raw` takes one dense tensor per feature, with a marker where the value is missing: NaN for floats, the smallest
int64 for integers, the empty string for bytes. The exported model turns the markers back into missing values, so
a client may leave a feature out. The same values count as missing in the training data, so both see the same.

A feature is single-valued (`[batch]`), of a fixed shape (`[batch, *shape]`) or a list (`[batch, longest]`, padded
with the marker); the schema says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.images import is_image
from slipway.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tensorflow_metadata.proto.v0 import schema_pb2

MISSING_INT = int(np.iinfo(np.int64).min)
MISSING_FLOAT = float("nan")
MISSING_BYTES = b""

DType = Literal["float32", "int64", "string"]
_TYPES: dict[int, tuple[DType, float | int | bytes, pa.DataType]] = {
    1: ("string", MISSING_BYTES, pa.binary()),
    2: ("int64", MISSING_INT, pa.int64()),
    3: ("float32", MISSING_FLOAT, pa.float32()),
}


def dtype_of(feature: schema_pb2.Feature) -> DType:
    """TensorFlow's name of the feature's type; ConfigError where the schema gives none, or a struct."""
    return _type_of(feature)[0]


def marker_of(feature: schema_pb2.Feature) -> float | int | bytes:
    """The value that means missing in `raw`."""
    return _type_of(feature)[1]


def arrow_type(feature: schema_pb2.Feature) -> pa.DataType:
    """Arrow's type of one value."""
    return _type_of(feature)[2]


def _type_of(feature: schema_pb2.Feature) -> tuple[DType, float | int | bytes, pa.DataType]:
    if feature.type not in _TYPES:
        raise ConfigError(f"schema: feature {feature.name!r} needs a type: BYTES, INT or FLOAT")
    return _TYPES[feature.type]


def fixed_shape(feature: schema_pb2.Feature) -> tuple[int, ...]:
    """The shape of one example's value; empty if the schema fixes none, or fixes a scalar."""
    return tuple(dim.size for dim in feature.shape.dim)


def curated_shapes(schema: schema_pb2.Schema | None) -> dict[str, tuple[int, ...]]:
    """The shapes that a schema gives to features of more than one dimension."""
    features = schema.feature if schema else ()
    return {feature.name: fixed_shape(feature) for feature in features if len(feature.shape.dim) > 1}


def is_list(feature: schema_pb2.Feature) -> bool:
    """Whether an example may hold more than one value, and how many is not fixed."""
    if feature.HasField("shape") or not feature.HasField("value_count"):
        return False
    return bool(feature.value_count.max != 1)


def is_only_image(features: Sequence[schema_pb2.Feature]) -> bool:
    """Whether a model takes nothing but one image of whole numbers: then a PNG may stand for a tf.Example."""
    shapes = [fixed_shape(feature) for feature in features if dtype_of(feature) == "int64"]
    return len(features) == len(shapes) == 1 and len(shapes[0]) == 3 and is_image(shapes[0])


@dataclass(frozen=True)
class RawFeatures:
    """The inputs of a model: `slipway.data.schema.model_inputs`, in the schema's order."""

    features: tuple[schema_pb2.Feature, ...]

    def spec(self) -> dict[str, Any]:
        """For `tf.io.parse_example`: sparse for a single value, ragged for a list, dense for a fixed shape."""
        import tensorflow as tf

        spec: dict[str, Any] = {}
        for feature in self.features:
            dtype = tf.as_dtype(dtype_of(feature))
            if feature.HasField("shape"):
                spec[feature.name] = tf.io.FixedLenFeature(fixed_shape(feature), dtype)
            elif is_list(feature):
                spec[feature.name] = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            else:
                spec[feature.name] = tf.io.VarLenFeature(dtype)
        return spec

    def serving_spec(self) -> dict[str, Any]:
        """The same for requests, which may leave features out: a fixed shape is then filled with the marker."""
        spec = self.spec()
        for feature in self.features:
            if feature.HasField("shape"):
                default = np.full(fixed_shape(feature), marker_of(feature)).tolist()
                spec[feature.name] = spec[feature.name]._replace(default_value=default)
        return spec

    def metadata(self) -> Any:
        """The same as TensorFlow Transform's `DatasetMetadata`."""
        from tensorflow_transform.tf_metadata import dataset_metadata

        return dataset_metadata.DatasetMetadata.from_feature_spec(self.spec())

    def adapter(self) -> Any:
        """The `TensorAdapterConfig` that turns columns of `list_columns` into tensors."""
        from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig
        from tfx_bsl.tfxio.tensor_representation_util import InferTensorRepresentationsFromMixedSchema

        columns = pa.schema([(feature.name, pa.list_(arrow_type(feature))) for feature in self.features])
        return TensorAdapterConfig(columns, InferTensorRepresentationsFromMixedSchema(self.metadata().schema))


def list_columns(batch: pa.RecordBatch | pa.Table, features: Sequence[schema_pb2.Feature]) -> pa.Table:
    """Columns as TensorFlow Transform and tf.Example take them: lists of float32, int64 or binary.

    A missing value is an empty list; in a fixed shape, which has no room for that, it is the marker.

    Args:
        batch: Rows; other columns than features are dropped, a feature without a column is missing in every row.
        features: `slipway.data.schema.model_inputs(schema)`.

    Raises:
        DataError: a column cannot be cast to the type of the schema.
    """
    table = pa.table(batch.columns, schema=batch.schema) if isinstance(batch, pa.RecordBatch) else batch
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return pa.table({one.name: _as_lists(_column(columns, one, table.num_rows), one) for one in features})


def serialize_examples(batch: pa.RecordBatch | pa.Table, features: Sequence[schema_pb2.Feature]) -> list[bytes]:
    """One serialized tf.Example per row, for `serving_default`; a missing value is an empty list.

    Args and errors are those of `list_columns`. TensorFlow is not imported.
    """
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    encoder = RecordBatchToExamplesEncoder()
    chunks = list_columns(batch, features).combine_chunks().to_batches()
    return [example for chunk in chunks for example in encoder.encode(chunk)]


def raw_inputs(batch: pa.RecordBatch | pa.Table, features: Sequence[schema_pb2.Feature]) -> dict[str, NDArray[Any]]:
    """Named arrays for the signature `raw`, with markers for missing values.

    Args and errors are those of `list_columns`.

    Returns:
        float32, int64 or object (bytes) arrays: `[rows]`, `[rows, *shape]` or `[rows, longest]` (at least 1).
    """
    lists = list_columns(batch, features)
    return {feature.name: _dense(lists[feature.name].combine_chunks(), feature) for feature in features}


def _column(columns: dict[str, pa.ChunkedArray], feature: schema_pb2.Feature, rows: int) -> pa.Array:
    found = columns.get(feature.name)
    return pa.nulls(rows, pa.list_(arrow_type(feature))) if found is None else found.combine_chunks()


def _as_lists(column: pa.Array, feature: schema_pb2.Feature) -> pa.Array:
    lengths = np.ones(len(column), np.int64)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        column = column.flatten()
    values = _cast(column, feature)
    if feature.HasField("shape"):
        return _fixed(values, lengths, feature)
    marker = pa.scalar(marker_of(feature), values.type)
    is_missing = pc.is_nan(values) if pa.types.is_floating(values.type) else pc.equal(values, marker)
    kept = pc.invert(pc.fill_null(is_missing, True))
    ends = _ends(kept.to_numpy(zero_copy_only=False))[_ends(lengths)]
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values.filter(kept))


def _fixed(values: pa.Array, lengths: NDArray[Any], feature: schema_pb2.Feature) -> pa.Array:
    """Lists of exactly as many values as the shape has; a missing one is the marker."""
    width = int(np.prod(fixed_shape(feature)))
    values = values.fill_null(pa.scalar(marker_of(feature), values.type))
    wrong = (lengths != width) & (lengths != 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"column {feature.name!r} has {lengths[row]} values in row {row}; the schema says {width}")
    dense = np.full((len(lengths), width), marker_of(feature), values.to_numpy(zero_copy_only=False).dtype)
    dense[lengths == width] = values.to_numpy(zero_copy_only=False).reshape(-1, width)
    ends = np.arange(len(lengths) + 1) * width
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(dense.reshape(-1), values.type))


def _ends(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where each list starts, and the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _cast(values: pa.Array, feature: schema_pb2.Feature) -> pa.Array:
    target = arrow_type(feature)
    try:
        if target == pa.binary() and not pa.types.is_large_binary(values.type):
            values = values.cast(pa.string()) if values.type != target else values
        return values.cast(target, safe=target != pa.float32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {feature.name!r} is {values.type} in the data but {dtype_of(feature)} in the schema: {error}"
        ) from error


def _dense(lists: pa.Array, feature: schema_pb2.Feature) -> NDArray[Any]:
    values: NDArray[Any] = lists.values.to_numpy(zero_copy_only=False)
    ends = lists.offsets.to_numpy()
    if feature.HasField("shape"):
        return values[ends[0] : ends[-1]].reshape(len(lists), *fixed_shape(feature))
    lengths = np.diff(ends)
    width = max(1, int(lengths.max(initial=0))) if is_list(feature) else 1
    if (lengths > width).any():
        row = int(np.argmax(lengths > width))
        raise DataError(
            f"column {feature.name!r} has {lengths[row]} values in row {row}; the schema allows one: "
            "give it a value_count, or fewer values"
        )
    dense = np.full((len(lists), width), marker_of(feature), dtype=values.dtype)
    dense[np.repeat(np.arange(len(lists)), lengths), np.arange(len(values)) - np.repeat(ends[:-1], lengths)] = values
    return dense if is_list(feature) else dense[:, 0]
