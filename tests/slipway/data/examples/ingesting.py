"""Short ways to ingest a small file and look at what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from slipway.data.examples.dataset import QUARANTINE, SPLITS, Manifest, open_split
from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.examples.source import Source, locate
from slipway.data.schema import parse_schema
from slipway.data.validation.ingested import check_ingested
from slipway.data.validation.report import Anomaly

HASH = {"method": "hash", "train": 2, "eval": 1}


class Ingested:
    """An examples artifact."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.rows = manifest.rows

    def table(self, *splits: str) -> pa.Table:
        """The rows of the splits (of both without any), sorted by the column `id` if there is one."""
        names = [name for name in SPLITS if not splits or name in splits]
        table = pa.concat_tables([open_split(self.path, name).to_table() for name in names])
        return table.sort_by("id") if "id" in table.column_names else table

    def column(self, name: str) -> list[Any]:
        return list(self.table().column(name).to_pylist())

    def findings(self) -> list[Anomaly]:
        """What validation finds in the rows that are not among the examples."""
        return list(check_ingested(self.path, self.manifest))

    def refusals(self) -> list[str]:
        """Why validation refuses them."""
        return [anomaly.description for anomaly in self.findings() if anomaly.severity == "ERROR"]

    def quarantine(self) -> list[dict[str, Any]]:
        return read_quarantine(self.path)


def read_quarantine(examples: Path) -> list[dict[str, Any]]:
    path = examples / QUARANTINE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ingest(
    data: str | Path | Source,
    examples: Path,
    *,
    label: str | dict[str, Any] = "y",
    split: dict[str, Any] | None = None,
    limit: float = 0.01,
    schema: str = "",
    task: str = "binary",
    window: int = 1,
    **ingestion: Any,
) -> Ingested:
    config = IngestConfig.model_validate({
        "task": task,
        "label": {"column": label} if isinstance(label, str) else label,
        "split": split or HASH,
        "ingestion": {"max_quarantined": limit, "window": window, **ingestion},
    })  # fmt: skip
    source = data if isinstance(data, Source) else locate(str(data), window)
    manifest = ingest_source(source, config, parse_schema(schema) if schema else None, examples)
    return Ingested(examples, manifest)


def numbered(rows: int, *, header: str = "id,x,y", line: str = "{0},{0}.5,1") -> str:
    """A CSV of so many rows, whose column `id` counts from 0."""
    return "\n".join([header, *(line.format(number) for number in range(rows))]) + "\n"
