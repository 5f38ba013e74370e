"""The step that settles the schema."""

from typing import Any

from kfp import dsl

from components import component


@component()
def infer_schema(
    statistics: dsl.Input[dsl.Artifact],
    label: dict[str, Any],
    group: str,
    schema_uri: str,
    schema: dsl.Output[dsl.Artifact],
) -> None:
    """Writes `schema.pbtxt`: the module's at `schema_uri` if it has features, else inferred from both splits.

    `group` is the column of a split by group, or empty.
    """
    from slipway.data.schema import infer_schema, read_curated_schema, write_schema
    from slipway.data.statistics.io import read_statistics
    from slipway.module_api import Label
    from slipway.module_kit.loader import read_schema_text

    target = Label.model_validate(label)
    curated = read_curated_schema(read_schema_text(schema_uri), target, group) if schema_uri else None
    if curated is not None and curated.feature:
        settled = curated
    else:
        described = read_statistics(statistics.path)
        # Without rows there are no columns, so none is missing: validation refuses such data, and says why.
        has_rows = any(one.num_examples for one in described.datasets)
        settled = infer_schema(described, target if has_rows else None, group if has_rows else "", curated)
    write_schema(settled, schema.path)
    schema.metadata["files"] = "schema.pbtxt: a Schema of TensorFlow Metadata, as text."
