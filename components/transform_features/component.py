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

    Beam's workers on other machines read and write the artifacts by their URIs.
    """
    from functools import partial

    from apache_beam.options.pipeline_options import PipelineOptions

    from components.transform_features.transform import (
        Transform,
        absent_columns,
        analyze,
        materialize,
        one_message,
        preprocess,
    )
    from slipway.data.beam import BeamRun, scratch_folder
    from slipway.data.examples.dataset import read_manifest, row_groups
    from slipway.data.schema import model_inputs, read_schema, write_schema
    from slipway.data.tensors import RawFeatures
    from slipway.errors import DataError
    from slipway.module_api import Label
    from slipway.stores import storage
    from slipway.stores.artifacts import TRANSFORM_GRAPH, TRANSFORMED, clear_artifact

    engine = BeamRun.model_validate(beam)
    target, manifest = Label.model_validate(label), read_manifest(examples.path)
    kept = tuple(dict.fromkeys(name for name in (target.column, target.weight, group) if name))
    if manifest.rows.train == 0:
        raise DataError(f"{examples.path}: the training split has no rows; there is nothing to learn from")
    asked = read_schema(schema.path)
    features = RawFeatures(tuple(model_inputs(asked)))
    clear_artifact(transform_graph.path, TRANSFORM_GRAPH)
    clear_artifact(transformed_examples.path, TRANSFORMED)
    source, written = engine.place(examples), engine.place(transformed_examples)
    if not engine.in_process:
        storage.delete_folder(written)
    with one_message(), scratch_folder(PipelineOptions(engine.flags)) as scratch:
        graph = storage.join(scratch, "graph")
        absent = absent_columns(manifest, target, group, asked)
        groups = [(storage.join(source, file), index) for file, index in row_groups(examples.path, "train")]
        analyze(groups, features, partial(preprocess, preprocessing_uri, absent), engine, scratch, graph)
        materialize(Transform(source, features, kept, graph, written), examples.path, engine)
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
