"""Interface of the step that turns raw rows into examples."""

from typing import Any

from kfp import dsl

from components import component


@component
def ingest_examples(
    source_uri: str, ingestion: dict[str, Any], schema_uri: str, examples: dsl.Output[dsl.Dataset]
) -> None:
    """Reads the source into Parquet splits; rows that do not parse go to quarantine.

    `source_uri` and `schema_uri` (empty if the module has no schema.pbtxt) end in digests; `ingestion` is an
    `IngestConfig`. `examples` holds `split=train/`, `split=eval/`, `manifest.json` and `quarantine.jsonl`.
    """
    from components.ingest_examples.run import ingest

    manifest = ingest(source_uri, ingestion, schema_uri, examples.path)
    examples.metadata.update(rows=manifest.rows.model_dump(), digest=manifest.digest)
