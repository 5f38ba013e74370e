"""Interface of the step that settles the schema."""

from typing import Any

from kfp import dsl

from components import component


@component
def infer_schema(
    statistics: dsl.Input[dsl.Artifact],
    label: dict[str, Any],
    curated_schema: str,
    schema: dsl.Output[dsl.Artifact],
) -> None:
    """Infers the schema from the statistics of both splits; a curated one wins.

    Args:
        statistics: Output of compute_statistics.
        label: `slipway.module_api.Label`: what is left out when serving.
        curated_schema: The module's schema.pbtxt, or empty.
        schema: `schema.pbtxt`.
    """
    from components.infer_schema.run import infer

    infer(statistics.path, label, curated_schema, schema.path)
