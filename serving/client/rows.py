"""Rows for a served model: reads them from CSV and JSON files, and asks for their predictions in batches."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from serving.client import parse_examples
from serving.protocol.signatures import CLASSIFY, RAW, SERVING_DEFAULT
from serving.protocol.tensor_protos import FLOAT, INT64, STRING
from slipway.data.tensors import arrow_type, dtype_of, fixed_shape, is_list, raw_inputs, serialize_examples
from slipway.errors import ConfigError, DataError, RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tensorflow_metadata.proto.v0 import schema_pb2

    from serving.client import ModelClient

_WRONG_VALUE = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)


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
    """Rows of a CSV file with a header, the columns of the model first; empty cells are missing values.

    Raises:
        DataError: the file cannot be read, has no column of the model, or a value has a wrong type.
    """
    types = {feature.name: _value_type(feature) for feature in features}
    try:
        table = csv.read_csv(
            path,
            # Only one thread can tell the row of a wrong value.
            read_options=csv.ReadOptions(use_threads=False),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: {error}") from error
    return model_columns_first(table, table.column_names, types, str(path))


def read_json(path: Path, features: Sequence[schema_pb2.Feature]) -> pa.Table:
    """Rows of a JSON file: one object a line, a list of objects, or `{"instances": [...]}` as REST takes it.

    Raises:
        DataError: the file is malformed, has no column of the model, or a value has a wrong type.
    """
    return table_of(_json_rows(path), features, str(path))


def table_of(rows: Sequence[Mapping[str, Any]], features: Sequence[schema_pb2.Feature], where: str) -> pa.Table:
    """The columns of the model; a value that is None, or left out of a row, is missing.

    Raises:
        DataError: there are no rows, no column of the model, or a value has a wrong type; it begins with `where`.
    """
    types = {
        feature.name: pa.list_(kind) if is_list(feature) or fixed_shape(feature) else kind
        for feature in features
        for kind in [_value_type(feature)]
    }
    given = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in (name for name in types if name in given):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values, types[name])
        except _WRONG_VALUE as error:
            wrong = next(index for index, value in enumerate(values) if not _fits(value, types[name]))
            raise DataError(
                f"{where}: row {wrong + 1}: {name} is {values[wrong]!r}, not {types[name]}: correct it, or leave it out"
            ) from error
    return model_columns_first(pa.table(columns), given, types, where)


def predict_rows(
    client: ModelClient, rows: pa.Table, features: Sequence[schema_pb2.Feature], signature: str, batch: int
) -> Iterator[dict[str, Any]]:
    """Yields the answer for each row: `class` and `scores`, or the outputs by name; `batch` rows make a request.

    A column of the model that the rows do not have is missing in every row; other columns are not sent.
    """
    if signature != RAW:
        yield from predict_examples(client, serialize_examples(rows, features), signature, batch)
        return
    for start in range(0, rows.num_rows, batch):
        yield from _rows_of(client.predict(raw_inputs(rows.slice(start, batch), features), RAW))


def rows_of_examples(examples: Sequence[bytes]) -> list[dict[str, Any]]:
    """The values of each serialized tf.Example by column, without those that are missing; UTF-8 is decoded.

    Raises:
        DataError: one is not a tf.Example.
    """
    return [
        {name: _value(feature) for name, feature in sorted(example.features.feature.items()) if _values(feature)}
        for example in parse_examples(examples)
    ]


def predict_examples(
    client: ModelClient, examples: Sequence[bytes], signature: str, batch: int
) -> Iterator[dict[str, Any]]:
    """Yields the answer for each serialized tf.Example.

    Raises:
        ConfigError: the signature does not take tf.Examples.
    """
    inputs = client.signatures()[signature].inputs
    if len(inputs) != 1:
        raise ConfigError(f"signature {signature!r} takes named tensors, not tf.Examples: use {SERVING_DEFAULT}")
    name = next(iter(inputs))
    for start in range(0, len(examples), batch):
        part = examples[start : start + batch]
        if signature == CLASSIFY:
            for scores in client.classify(part, signature):
                yield {"class": max(scores, key=scores.__getitem__), "scores": scores}
        else:
            yield from _rows_of(client.predict({name: np.array(part, object)}, signature))


def _values(feature: Any) -> list[Any]:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _value(feature: Any) -> Any:
    """One value, or a list of several; a float32 with as few digits as tell it from others."""
    values = _values(feature)
    if feature.WhichOneof("kind") == "bytes_list":
        with suppress(UnicodeDecodeError):
            values = [value.decode() for value in values]
    elif feature.WhichOneof("kind") == "float_list":
        values = [float(str(np.float32(value))) for value in values]
    return values[0] if len(values) == 1 else values


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


def _value_type(feature: schema_pb2.Feature) -> pa.DataType:
    return pa.string() if dtype_of(feature) == "string" else arrow_type(feature)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except _WRONG_VALUE:
        return False
    return True


def model_columns_first(table: pa.Table, given: Sequence[str], model: Collection[str], where: str) -> pa.Table:
    """The columns of the model, then the others; a DataError if there are none of the model, or no rows."""
    known = [name for name in table.column_names if name in model]
    if not known:
        raise DataError(
            f"{where} has no column of the model: it has {', '.join(given) or 'none'}, "
            f"the model takes {', '.join(model)}"
        )
    if not table.num_rows:
        raise DataError(f"{where} has no rows")
    return table.select([*known, *(name for name in table.column_names if name not in model)])


def _rows_of(outputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for values in zip(*outputs.values(), strict=True):
        yield {name: _plain(value) for name, value in zip(outputs, values, strict=True)}


def _plain(value: Any) -> Any:
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return plain.decode(errors="replace") if isinstance(plain, bytes) else plain
