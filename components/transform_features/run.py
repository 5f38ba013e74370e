"""Analyses the training split on Beam with TensorFlow Transform, then transforms every file of both splits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.transform_features.files import BATCH_ROWS, transform_file
from components.transform_features.preprocessing import Preprocessing
from slipway.data.beam import BeamConfig, scratch_folder
from slipway.data.examples.dataset import SPLITS, read_manifest
from slipway.data.schema import model_inputs, read_schema
from slipway.data.tensors import RawFeatures, list_columns
from slipway.errors import DataError, SlipwayError, TrainingError
from slipway.module_api import Label
from slipway.stores import storage
from slipway.stores.artifacts import TRANSFORM_GRAPH, TRANSFORMED, clear_artifact

if TYPE_CHECKING:
    import pyarrow as pa


def transform(
    examples_path: str,
    schema_path: str,
    preprocessing_uri: str,
    label: dict[str, Any],
    beam: dict[str, Any],
    transform_graph_path: str,
    transformed_path: str,
) -> None:
    """Writes the transform graph and the transformed examples; see the component for the arguments.

    The transformed examples mirror the examples: the same files and rows in the same order, so that row n of a file is
    one example in both. The label is copied as it is; it is no part of the transform graph.

    A runner outside this process needs the artifacts on a path that its workers share, and `--temp_location` for what
    they write meanwhile.

    Raises:
        ModuleError: the module's preprocessing fails; the message names its line.
        DataError: the training split is empty, or does not fit the schema.
        TrainingError: Beam or TensorFlow Transform failed.
        StoreError: an artifact cannot be written.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    config = BeamConfig.model_validate(beam)
    column = Label.model_validate(label).column
    manifest = read_manifest(examples_path)
    if manifest.rows.train == 0:
        raise DataError(f"{examples_path}: the training split has no rows; there is nothing to learn from")
    features = RawFeatures(tuple(model_inputs(read_schema(schema_path))))
    files = [str(path.relative_to(examples_path)) for split in SPLITS for path in _files(examples_path, split)]
    clear_artifact(transform_graph_path, TRANSFORM_GRAPH)
    clear_artifact(transformed_path, TRANSFORMED)
    with _one_message(), scratch_folder(PipelineOptions(config.flags)) as scratch:
        graph = storage.join(scratch, "graph")
        _analyze(examples_path, features, Preprocessing(preprocessing_uri), config, scratch, graph)
        _materialize(examples_path, features, files, column, config, graph, transformed_path)
        storage.write_text(storage.join(transformed_path, TRANSFORMED), "")
        storage.copy_folder(graph, transform_graph_path, TRANSFORM_GRAPH)


def _files(examples_path: str, split: str) -> list[Path]:
    return sorted(Path(examples_path, f"split={split}").glob("*.parquet"))


@contextmanager
def _one_message() -> Iterator[None]:
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


def _analyze(
    examples_path: str,
    features: RawFeatures,
    preprocessing: Preprocessing,
    config: BeamConfig,
    scratch: str,
    graph_path: str,
) -> None:
    import apache_beam
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_transform.tf_metadata import metadata_io

    files = [str(path) for path in _files(examples_path, "train")]
    with (
        tft_beam.Context(temp_dir=scratch),
        apache_beam.Pipeline(options=PipelineOptions(config.flags, pipeline_type_check=False)) as pipeline,
    ):
        batches = (
            pipeline
            | "Files" >> apache_beam.Create(files, reshuffle=not config.in_process)
            | "Read" >> apache_beam.FlatMap(_read, features)
        )
        graph = (batches, features.adapter()) | "Analyze" >> tft_beam.AnalyzeDataset(preprocessing)
        _ = graph | "Write" >> tft_beam.WriteTransformFn(graph_path)
    # WriteTransformFn leaves this out, and TFTransformOutput.raw_feature_spec() needs it.
    metadata_io.write_metadata(features.metadata(), f"{graph_path}/metadata")


def _read(file: str, features: RawFeatures) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        columns = [one.name for one in features.features if one.name in parquet.schema_arrow.names]
        for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
            yield from list_columns(batch, features.features).combine_chunks().to_batches()


def _materialize(
    examples_path: str,
    features: RawFeatures,
    files: list[str],
    label: str,
    config: BeamConfig,
    graph_path: str,
    transformed_path: str,
) -> None:
    arguments = (examples_path, features, label, graph_path, transformed_path)
    if config.in_process:
        for file in files:
            transform_file(file, *arguments)
        return
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with apache_beam.Pipeline(options=PipelineOptions(config.flags)) as pipeline:
        _ = (
            pipeline
            | "Files" >> apache_beam.Create(files, reshuffle=True)
            | "Transform" >> apache_beam.Map(transform_file, *arguments)
        )
