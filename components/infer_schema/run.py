"""Settles the schema."""

from __future__ import annotations

from typing import Any

from slipway.data.schema import infer_schema, read_curated_schema, write_schema
from slipway.data.statistics.io import read_statistics
from slipway.module_api import Label
from slipway.module_kit.loader import read_schema_text


def infer(statistics_path: str, label: dict[str, Any], schema_uri: str, schema_path: str) -> None:
    """Writes `schema.pbtxt`: the module's if it has one, else an inferred one; see the component for the arguments.

    Raises:
        ConfigError: the curated schema is wrong, or there is no such label.
    """
    target = Label.model_validate(label)
    if schema_uri:
        schema = read_curated_schema(read_schema_text(schema_uri), target)
    else:
        schema = infer_schema(read_statistics(statistics_path), target)
    write_schema(schema, schema_path)
