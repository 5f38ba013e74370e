"""Reads rows for a served model from CSV and JSON files. The model's `raw` signature names the columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.protocol.signatures import RAW
from serving.protocol.tensor_protos import FLOAT, INT64, STRING
from slipway.data.tensors import arrow_type, dtype_of, fixed_shape, is_list
from slipway.errors import DataError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2


def input_features(signatures: Mapping[str, Any]) -> list[schema_pb2.Feature]:
    """The columns of a model, from its `raw` signature.

    Raises:
        RequestError: the model has no such signature, or it takes other types.
    """
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema_types = {FLOAT: schema_pb2.FLOAT, STRING: schema_pb2.BYTES, INT64: schema_pb2.INT}
    if RAW not in signatures:
        raise RequestError(
            f"the served model has no signature {RAW!r} that says what its columns are; it has "
            f"{', '.join(sorted(signatures)) or 'none'}. Send tf.Examples with --examples"
        )
    features = []
    for name, info in sorted(signatures[RAW].inputs.items()):
        if info.dtype not in schema_types:
            raise RequestError(
                f"input {name!r} of {RAW} has TensorFlow's type {info.dtype}: not float32, int64 or string"
            )
        feature = schema_pb2.Feature(name=name, type=schema_types[info.dtype])
        sizes = [dim.size for dim in info.tensor_shape.dim[1:]]
        if not sizes:
            feature.value_count.min, feature.value_count.max = 0, 1
        elif -1 in sizes:
            feature.value_count.min = 0
        else:
            for size in sizes:
                feature.shape.dim.add(size=size)
        features.append(feature)
    return features


def read_csv(path: Path, features: Sequence[schema_pb2.Feature]) -> pa.Table:
    """Rows of a CSV file with a header; unknown columns are ignored, empty cells are missing values.

    Raises:
        DataError: the file cannot be read, has no column of the model, or a value has a wrong type.
    """
    import pyarrow as pa
    from pyarrow import csv

    types = {
        feature.name: pa.string() if dtype_of(feature) == "string" else arrow_type(feature) for feature in features
    }
    try:
        table = csv.read_csv(
            path,
            # Only one thread can tell the row of a wrong value.
            read_options=csv.ReadOptions(use_threads=False),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: {error}") from error
    return _known_columns(table, table.column_names, types, path)


def read_json(path: Path, features: Sequence[schema_pb2.Feature]) -> pa.Table:
    """Rows of a JSON file: one object a line, a list of objects, or `{"instances": [...]}` as REST takes it.

    Raises:
        DataError: the file is malformed, has no column of the model, or a value has a wrong type.
    """
    import pyarrow as pa

    rows = _json_rows(path)
    types = {feature.name: _json_type(feature) for feature in features}
    names = [name for name in types if any(name in row for row in rows)]
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values, types[name])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            wrong = next(index for index, value in enumerate(values) if not _fits(value, types[name]))
            raise DataError(
                f"{path}: row {wrong + 1}: {name} is {values[wrong]!r}, not {types[name]}: correct it, or leave it out"
            ) from error
    return _known_columns(pa.table(columns), list(dict.fromkeys(name for row in rows for name in row)), types, path)


def _json_rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        content = [_json_line(line, number, path) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if isinstance(content, dict):
        content = content.get("instances", [content])
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f'{path}: give one object a line, a list of objects, or {{"instances": [...]}}')
    return content


def _json_line(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {number} is not JSON: {error}") from error


def _json_type(feature: schema_pb2.Feature) -> pa.DataType:
    import pyarrow as pa

    kind = pa.string() if dtype_of(feature) == "string" else arrow_type(feature)
    return pa.list_(kind) if is_list(feature) or fixed_shape(feature) else kind


def _fits(value: Any, kind: pa.DataType) -> bool:
    import pyarrow as pa

    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return False
    return True


def _known_columns(table: pa.Table, given: Sequence[str], types: Mapping[str, Any], path: Path) -> pa.Table:
    known = [name for name in table.column_names if name in types]
    if not known:
        raise DataError(
            f"{path} has no column of the model: it has {', '.join(given) or 'none'}, "
            f"the model takes {', '.join(types)}"
        )
    if not table.num_rows:
        raise DataError(f"{path} has no rows")
    return table.select(known)
