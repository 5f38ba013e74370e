"""The work of ingest_examples: raw rows to typed, labelled, split examples."""

from __future__ import annotations

from typing import Any

from slipway.data.examples.dataset import Manifest
from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.examples.source import read_source
from slipway.data.schema import parse_schema
from slipway.module_kit.loader import read_schema_text


def ingest(source_uri: str, ingestion: dict[str, Any], schema_uri: str, examples_path: str) -> Manifest:
    """Writes the examples artifact; see the component for the arguments.

    Raises:
        DataError: the source cannot be read, or too much of it is bad.
        ConfigError: the module's label, split or schema does not fit the data.
    """
    schema = parse_schema(read_schema_text(schema_uri), "schema.pbtxt of the module") if schema_uri else None
    return ingest_source(read_source(source_uri), IngestConfig.model_validate(ingestion), schema, examples_path)
