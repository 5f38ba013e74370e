"""One file of examples through the saved transform graph: the same on one machine and on a Beam worker."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.data.tensors import RawFeatures, list_columns
from slipway.errors import DataError
from slipway.stores.artifacts import writing

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 10_000


def transform_file(
    file: str, examples_path: str, features: RawFeatures, label: str, graph_path: str, transformed_path: str
) -> str:
    """Writes `transformed_path/file`: each row of `examples_path/file`, transformed, and its label.

    A scalar is a column, a tensor is a column of fixed-size lists (row-major), so that a column of the file is
    one numpy array of the training, without a copy.
    """
    import pyarrow.parquet as pq

    target = Path(transformed_path, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.partial")
    writer = None
    for table in _transformed(Path(examples_path, file), features, label, graph_path):
        with writing(transformed_path):
            writer = writer or pq.ParquetWriter(beside, table.schema, compression="lz4", use_dictionary=[label])
            writer.write_table(table)
    if writer:
        with writing(transformed_path):
            writer.close()
            beside.replace(target)
    return file


def _transformed(path: Path, features: RawFeatures, label: str, graph_path: str) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tfx_bsl.tfxio.tensor_adapter import TensorAdapter

    graph = _load_graph(graph_path)
    adapter = TensorAdapter(features.adapter())
    with pq.ParquetFile(path) as parquet:
        if label not in parquet.schema_arrow.names:
            raise DataError(f"{path} has no column {label!r}, the label of module.yaml")
        for batch in parquet.iter_batches(BATCH_ROWS):
            lists = list_columns(batch, features.features).combine_chunks().to_batches()[0]
            outputs = graph.transform_fn(adapter.ToBatchTensors(lists))
            columns = {name: _column(outputs[name].numpy()) for name in sorted(outputs)}
            yield pa.table({**columns, label: batch.column(label)})


@lru_cache(maxsize=1)
def _load_graph(graph_path: str) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(f"{graph_path}/transform_fn")


def _column(values: np.ndarray[Any, Any]) -> pa.Array:
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), int(np.prod(values.shape[1:])))
