"""Settles the schema."""

from __future__ import annotations

from typing import Any

from slipway.data.schema.curate import read_curated_schema
from slipway.data.schema.infer import infer_schema
from slipway.data.schema.io import write_schema
from slipway.data.statistics.io import read_statistics
from slipway.module_api import Label


def infer(statistics_path: str, label: dict[str, Any], curated_schema: str, schema_path: str) -> None:
    """Writes `schema.pbtxt`: the curated one if there is one, else what the statistics suggest.

    Args:
        statistics_path: Output of compute_statistics.
        label: A `Label`.
        curated_schema: The module's schema.pbtxt, or empty.
        schema_path: Where `schema.pbtxt` is written.

    Raises:
        ConfigError: the curated schema is wrong, or there is no such label.
    """
    target = Label.model_validate(label)
    if curated_schema.strip():
        schema = read_curated_schema(curated_schema, target)
    else:
        schema = infer_schema(read_statistics(statistics_path), target)
    write_schema(schema, schema_path)
