"""The step that turns raw rows into typed, labelled, split examples."""

from typing import Any

from kfp import dsl

from components import component


@component()
def ingest_examples(
    source_uri: str,
    ingestion: dict[str, Any],
    schema_uri: str,
    examples: dsl.Output[dsl.Dataset],
    eval_sample: dsl.Output[dsl.Dataset],
) -> None:
    """Reads the source into Parquet splits; rows that do not parse go to quarantine.

    `source_uri` and `schema_uri` (empty if the module has no schema.pbtxt) end in digests; `ingestion` is an
    `IngestConfig`. `examples` holds `split=train/`, `split=eval/`, `manifest.json` and `quarantine.jsonl`;
    `eval_sample` holds the first of the eval split's rows.
    """
    from slipway.data.examples.ingest import IngestConfig, ingest_source, write_sample
    from slipway.data.examples.source import read_source
    from slipway.data.schema import parse_schema
    from slipway.module_kit.loader import read_schema_text

    schema = parse_schema(read_schema_text(schema_uri), "schema.pbtxt of the module") if schema_uri else None
    config = IngestConfig.model_validate(ingestion)
    manifest = ingest_source(read_source(source_uri), config, schema, examples.path)
    write_sample(manifest, examples.path, eval_sample.path)
    examples.metadata.update(
        rows=manifest.rows.model_dump(),
        digest=manifest.digest,
        files="split=train/ and split=eval/: rows as Parquet. manifest.json: counts, types, source and digests. "
        "quarantine.jsonl: rows that could not be read, if any.",
    )
    eval_sample.metadata["files"] = "split=eval/: the first rows as Parquet. manifest.json: that of all examples."
