"""Interface of the step that turns raw rows into examples."""

from typing import Any

from kfp import dsl

from components import component


@component
def ingest_examples(
    source_uri: str, ingestion: dict[str, Any], schema_uri: str, examples: dsl.Output[dsl.Dataset]
) -> None:
    """Reads the source into Parquet splits; rows that do not parse go to quarantine.

    Args:
        source_uri: The source that resolve_source found, by digest.
        ingestion: Label, split, limits: `slipway.data.examples.ingest.IngestConfig`.
        schema_uri: The folder of the module's curated schema.pbtxt, by digest; empty if it has none.
        examples: `split=train/`, `split=eval/`, `manifest.json`, `quarantine.jsonl`.
    """
    from components.ingest_examples.run import ingest

    manifest = ingest(source_uri, ingestion, schema_uri, examples.path)
    examples.metadata.update(rows=manifest.rows.model_dump(), digest=manifest.digest)
