"""Interface of the step that turns examples into what the model learns from."""

from typing import Any

from kfp import dsl

from components import component


@component(tensorflow=True)
def transform_features(
    examples: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    preprocessing_uri: str,
    label: dict[str, Any],
    beam: dict[str, Any],
    transform_graph: dsl.Output[dsl.Artifact],
    transformed_examples: dsl.Output[dsl.Dataset],
) -> None:
    """Analyses the training split with the module's `preprocessing_fn` and transforms both splits.

    `transform_graph` is a TFTransformOutput directory; `transformed_examples` holds transformed features and the label
    of both splits, as Parquet.
    """
    from components.transform_features.run import transform

    transform(
        examples.path,
        schema.path,
        preprocessing_uri,
        label,
        beam,
        transform_graph.path,
        transformed_examples.path,
    )
