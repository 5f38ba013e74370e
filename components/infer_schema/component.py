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
    """Writes `schema.pbtxt`: the module's at `schema_uri` if it has one, else inferred from both splits."""
    from components.infer_schema.run import infer

    infer(statistics.path, label, schema_uri, schema.path)
