"""Interface of the step that turns raw rows into examples."""

from typing import Any

from kfp import dsl

from components import component


@component
def ingest_examples(
    source: dict[str, Any], ingestion: dict[str, Any], curated_schema: str, examples: dsl.Output[dsl.Dataset]
) -> None:
    """Reads the source into Parquet splits; rows that do not parse go to quarantine.

    Args:
        source: What resolve_source found.
        ingestion: Label, split, limits: `slipway.data.examples.ingest.IngestConfig`.
        curated_schema: The module's schema.pbtxt, or empty.
        examples: `split=train/`, `split=eval/`, `manifest.json`, `quarantine.jsonl`.
    """
    from components.ingest_examples.run import ingest

    manifest = ingest(source, ingestion, curated_schema, examples.path)
    examples.metadata.update(rows=manifest.rows.model_dump(), digest=manifest.digest)
