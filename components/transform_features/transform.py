"""Analyses the training split on Beam with TensorFlow Transform, then transforms every file of both splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.transform_features.source_keys import find_sources_by_set
from slipway.data.examples.dataset import SPLITS, row_groups
from slipway.data.tensors import list_columns
from slipway.errors import DataError, ModuleError, SlipwayError, TrainingError
from slipway.module_kit.loader import load_function
from slipway.stores import storage
from slipway.stores.artifacts import writing
from slipway.strict_yaml import did_you_mean

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from slipway.data.beam import BeamRun
    from slipway.data.examples.dataset import Manifest
    from slipway.data.tensors import RawFeatures
    from slipway.module_api import Label

BATCH_ROWS = 10_000
FUNCTION = "preprocessing_fn"


def preprocess(uri: str, absent: dict[str, str], inputs: dict[str, Any]) -> dict[str, Any]:
    """Calls the module's `preprocessing_fn`; the URI travels to remote workers, so that they load the same bytes.

    `absent` says of columns of the data why they are no inputs.

    Raises:
        ModuleError: the function fails, or answers something else than dense tensors by name.
    """
    find_sources_by_set()
    given = _Inputs(inputs)
    try:
        outputs = load_function(uri, "preprocessing", FUNCTION)(given)
        _require_tensors(outputs)
    except ModuleError as error:
        said, asked = str(error), error.__cause__.args[0] if isinstance(error.__cause__, KeyError) else None
        if asked is None and given.missed:
            asked = given.missed[-1]
            said += f". inputs.get({asked!r}) answered None: it"
        if not isinstance(asked, str) or asked in inputs:
            raise
        why = absent.get(asked) or f"the data has no such column{did_you_mean(asked, inputs)}"
        listed = ", ".join(inputs)
        raise ModuleError(f"{said} is no input of {FUNCTION}: {why}. The inputs are: {listed}") from error
    return dict(outputs)


class _Inputs(dict[str, Any]):
    """What `preprocessing_fn` is given; `missed` are the columns that `get` answered None for."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        super().__init__(inputs)
        self.missed: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self and default is None:
            self.missed.append(name)
        return super().get(name, default)


def _require_tensors(outputs: Any) -> None:
    import tensorflow as tf

    if not isinstance(outputs, dict) or not outputs:
        raise ModuleError(f"{FUNCTION} returns a dict from names to tensors, not {outputs!r}")
    for name, value in outputs.items():
        if not isinstance(value, tf.Tensor):
            raise ModuleError(
                f"{FUNCTION} returns {type(value).__name__} for {name!r}; it must be a dense tensor: "
                "use slipway.module_api.fill_missing, or .to_tensor() of a RaggedTensor"
            )
        if value.shape.rank is None or None in value.shape[1:]:
            raise ModuleError(
                f"{FUNCTION} returns shape {value.shape} for {name!r}; all but the batch dimension must be known: "
                "use tf.reshape or tf.ensure_shape"
            )


@dataclass(frozen=True)
class Transform:
    """Transforms one file of examples by the saved graph: the same on one machine and on a Beam worker, by URI."""

    examples_uri: str
    features: RawFeatures
    kept: tuple[str, ...]  # label, weight and group
    graph_uri: str
    transformed_uri: str

    def __call__(self, file: str) -> None:
        """Writes `transformed_uri/file`: each row of `examples_uri/file`, transformed, and the columns kept.

        A scalar is a column, a tensor is a column of fixed-size lists (row-major), so that a column of the file is
        one numpy array of the training, without a copy. A file that a second worker writes too is whole at any time.
        """
        target = storage.join(self.transformed_uri, file)
        tables = self._tables(storage.join(self.examples_uri, file))
        first = next(tables, None)
        if first is None:
            return
        options = {"compression": "lz4", "use_dictionary": list(self.kept)}
        with (
            storage.creating(target, target.rpartition("/")[0]) as beside,
            writing(self.transformed_uri),
            pq.ParquetWriter(beside, first.schema, **options) as writer,
        ):
            for table in chain([first], tables):
                writer.write_table(table)

    def _tables(self, uri: str) -> Iterator[pa.Table]:
        from tfx_bsl.tfxio.tensor_adapter import TensorAdapter

        graph = _load_graph(self.graph_uri)
        adapter = TensorAdapter(self.features.adapter())
        with storage.open_read(uri) as stream, pq.ParquetFile(stream) as parquet:
            for name in self.kept:
                if name not in parquet.schema_arrow.names:
                    raise DataError(f"{uri} has no column {name!r}, the label, the weight or the group of module.yaml")
            for batch in parquet.iter_batches(BATCH_ROWS):
                lists = list_columns(batch, self.features.features).combine_chunks().to_batches()[0]
                outputs = graph.transform_fn(adapter.ToBatchTensors(lists))
                for name in outputs.keys() & set(self.kept):
                    raise ModuleError(f"{FUNCTION} returns {name!r}, the name of label, weight or group: rename it")
                columns = {name: _column(outputs[name].numpy()) for name in sorted(outputs)}
                yield pa.table({**columns, **{name: batch.column(name) for name in self.kept}})


@lru_cache(maxsize=1)
def _load_graph(graph_uri: str) -> Any:
    import tensorflow as tf

    with storage.as_local_folder(storage.join(graph_uri, "transform_fn")) as folder:
        return tf.saved_model.load(str(folder))


def _column(values: np.ndarray[Any, Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), int(np.prod(values.shape[1:])))


@contextmanager
def one_message() -> Iterator[None]:
    """Beam wraps an error once per stage: finds our own in the chain, else keeps the first line of the cause."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, SlipwayError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        raise TrainingError(f"transforming the features failed: {type(error).__name__}: {error}") from error


def absent_columns(manifest: Manifest, label: Label, group: str, schema: schema_pb2.Schema) -> dict[str, str]:
    """The columns of the data that are no inputs of `preprocessing_fn`, and why."""
    absent = dict(manifest.taken)
    known = {feature.name for feature in schema.feature}
    for column in manifest.columns:
        absent[column] = (
            "schema.pbtxt marks it as unknown when the model serves" if column in known else "schema.pbtxt lacks it"
        )
    absent |= dict.fromkeys(label.training_only, "label.training_only of module.yaml: it is known after the outcome")
    if group:
        absent[group] = "split.column of module.yaml: it groups rows, and is no feature"
    if label.weight:
        absent[label.weight] = "label.weight of module.yaml: it weighs rows, and is no feature"
    return absent | {label.column: "it is the label"}


def analyze(
    groups: list[tuple[str, int]],
    features: RawFeatures,
    preprocess: Callable[[dict[str, Any]], dict[str, Any]],
    engine: BeamRun,
    scratch: str,
    graph_uri: str,
) -> None:
    """Writes the transform graph, from row groups by URI; the label is no part of it."""
    import apache_beam
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_transform.tf_metadata import metadata_io

    with (
        tft_beam.Context(temp_dir=scratch),
        apache_beam.Pipeline(options=PipelineOptions(engine.flags, pipeline_type_check=False)) as pipeline,
    ):
        batches = (
            pipeline
            | "RowGroups" >> apache_beam.Create(groups, reshuffle=not engine.in_process)
            | "Read" >> apache_beam.FlatMap(_read, features)
        )
        graph = (batches, features.adapter()) | "Analyze" >> tft_beam.AnalyzeDataset(preprocess)
        _ = graph | "Write" >> tft_beam.WriteTransformFn(graph_uri)
    # WriteTransformFn leaves this out, and TFTransformOutput.raw_feature_spec() needs it.
    metadata_io.write_metadata(features.metadata(), f"{graph_uri}/metadata")


def _read(group: tuple[str, int], features: RawFeatures) -> Iterator[pa.RecordBatch]:
    uri, index = group
    with storage.open_read(uri) as stream, pq.ParquetFile(stream) as parquet:
        there = set(parquet.schema_arrow.names)
        columns = [one.name for one in features.features if one.name in there]
        for batch in parquet.iter_batches(BATCH_ROWS, [index], columns):
            yield from list_columns(batch, features.features).combine_chunks().to_batches()


def materialize(transform: Transform, examples_path: str, engine: BeamRun) -> None:
    """Transforms both splits, here file by file, or on Beam's workers."""
    files = list(dict.fromkeys(file for split in SPLITS for file, _ in row_groups(examples_path, split)))
    if engine.in_process:
        for file in files:
            transform(file)
        return
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with apache_beam.Pipeline(options=PipelineOptions(engine.flags)) as pipeline:
        files_of_both = pipeline | "Files" >> apache_beam.Create(files, reshuffle=True)
        _ = files_of_both | "Transform" >> apache_beam.Map(transform)
