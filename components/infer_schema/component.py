"""Interface of the step that settles the schema."""

from typing import Any

from kfp import dsl

from components import component


@component
def infer_schema(
    statistics: dsl.Input[dsl.Artifact],
    label: dict[str, Any],
    schema_uri: str,
    schema: dsl.Output[dsl.Artifact],
) -> None:
    """Infers the schema from the statistics of both splits; a curated one wins.

    Args:
        statistics: Output of compute_statistics.
        label: `slipway.module_api.Label`: what is left out when serving.
        schema_uri: The folder of the module's curated schema.pbtxt, by digest; empty if it has none.
        schema: `schema.pbtxt`.
    """
    from components.infer_schema.run import infer

    infer(statistics.path, label, schema_uri, schema.path)
