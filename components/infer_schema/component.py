"""Interface of the step that settles the schema."""

from kfp import dsl

from components import component


@component
def infer_schema(
    statistics: dsl.Input[dsl.Artifact],
    label: dict,  # type: ignore[type-arg]
    curated_schema: str,
    schema: dsl.Output[dsl.Artifact],
):
    """Infers the schema from the training split's statistics; a curated one wins.

    Args:
        statistics: Output of compute_statistics.
        label: `slipway.module_api.Label`: what is left out when serving.
        curated_schema: The module's schema.pbtxt, or empty.
        schema: `schema.pbtxt`.
    """
    from components.infer_schema.run import infer

    infer(statistics.path, label, curated_schema, schema.path)
