"""Writes examples artifacts as ingest_examples does, for tests of what comes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slipway.data.examples.dataset import MANIFEST, Manifest, RowCounts
from slipway.stores.module_store import SCHEMA, digest_files


def write_examples(
    folder: Path, train: dict[str, Any], evaluation: dict[str, Any] | None = None, *, weight: str = ""
) -> str:
    """An artifact with these columns, Arrow arrays or lists; the eval split is the train split by default."""
    splits = {"train": pa.table(train), "eval": pa.table(train if evaluation is None else evaluation)}
    for split, table in splits.items():
        (folder / f"split={split}").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"split={split}" / "part-0.parquet")
    rows = {split: table.num_rows for split, table in splits.items()}
    manifest = Manifest(
        source={},
        rows=RowCounts(read=sum(rows.values()), quarantined=0, train=rows["train"], eval=rows["eval"]),
        files=[],
        columns={field.name: str(field.type) for field in splits["train"].schema},
        label=splits["train"].column_names[-1],
        weight=weight,
        digest="test",
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return str(folder)


def write_curated_schema(folder: Path, text: str) -> str:
    """A schema as a published module has it, under its digest; answers its URI, or nothing for no schema."""
    if not text:
        return ""
    path = folder / "published" / digest_files({SCHEMA: text.encode()}) / SCHEMA
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path.parent)
