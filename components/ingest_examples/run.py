"""The work of ingest_examples: raw rows to typed, labelled, split examples."""

from __future__ import annotations

from typing import Any

from slipway.data.examples.dataset import Manifest
from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.examples.source import Source
from slipway.data.schema.io import parse_schema


def ingest(source: dict[str, Any], ingestion: dict[str, Any], curated_schema: str, examples_path: str) -> Manifest:
    """Writes the examples artifact; see the component for the arguments.

    Raises:
        DataError: the source cannot be read, or too much of it is bad.
        ConfigError: the module's label, split or schema does not fit the data.
    """
    schema = parse_schema(curated_schema, "schema.pbtxt of the module") if curated_schema.strip() else None
    config = IngestConfig.model_validate(ingestion)
    return ingest_source(Source.model_validate(source), config, schema, examples_path)
