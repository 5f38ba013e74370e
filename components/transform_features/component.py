"""The step that turns examples into the features that the model learns from."""

from typing import Any

from kfp import dsl

from components import component


@component(tensorflow=True)
def transform_features(
    examples: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    preprocessing_uri: str,
    label: dict[str, Any],
    group: str,
    beam: dict[str, Any],
    transform_graph: dsl.Output[dsl.Artifact],
    transformed_examples: dsl.Output[dsl.Dataset],
) -> None:
    """Analyses the training split with the module's `preprocessing_fn` and transforms both splits.

    `transform_graph` is a TFTransformOutput directory, with the schema of its inputs. `transformed_examples` mirror the
    examples: the same files and rows in the same order, as Parquet, each with the transformed features and, as they
    were, label, weight and `group`, the column of a split by group.

    A runner outside this process needs the artifacts on a path that its workers share, and `--temp_location` for what
    they write meanwhile.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.transform_features.transform import (
        Transform,
        absent_columns,
        analyze,
        materialize,
        one_message,
    )
    from slipway.data.beam import BeamConfig, scratch_folder
    from slipway.data.examples.dataset import read_manifest
    from slipway.data.schema import model_inputs, read_schema, write_schema
    from slipway.data.tensors import RawFeatures
    from slipway.errors import DataError
    from slipway.module_api import Label
    from slipway.stores import storage
    from slipway.stores.artifacts import TRANSFORM_GRAPH, TRANSFORMED, clear_artifact

    config = BeamConfig.model_validate(beam)
    target, manifest = Label.model_validate(label), read_manifest(examples.path)
    kept = tuple(dict.fromkeys(name for name in (target.column, target.weight, group) if name))
    if manifest.rows.train == 0:
        raise DataError(f"{examples.path}: the training split has no rows; there is nothing to learn from")
    asked = read_schema(schema.path)
    features = RawFeatures(tuple(model_inputs(asked)))
    clear_artifact(transform_graph.path, TRANSFORM_GRAPH)
    clear_artifact(transformed_examples.path, TRANSFORMED)
    with one_message(), scratch_folder(PipelineOptions(config.flags)) as scratch:
        graph = storage.join(scratch, "graph")
        absent = absent_columns(manifest, target, group, asked)
        analyze(examples.path, features, preprocessing_uri, absent, config, scratch, graph)
        materialize(Transform(examples.path, features, kept, graph, transformed_examples.path), config)
        storage.write_text(storage.join(transformed_examples.path, TRANSFORMED), "")
        write_schema(asked, transform_graph.path)
        storage.copy_folder(graph, transform_graph.path, TRANSFORM_GRAPH)
    transform_graph.metadata["files"] = (
        "transform_fn/: the transform as a SavedModel. metadata/ and transformed_metadata/: schemas of what it takes "
        "and gives. TFTransformOutput reads them. schema.pbtxt: the schema of the examples."
    )
    transformed_examples.metadata["files"] = (
        "split=train/ and split=eval/: transformed features, label, weight and group as Parquet, row for row as in the "
        "examples. _SUCCESS: empty, written last."
    )
