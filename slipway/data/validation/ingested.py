"""What validation says of ingestion: rows that could not be read, and labels or groups that are missing in all rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from slipway.data.examples.dataset import QUARANTINE, Manifest
from slipway.data.validation.report import Anomaly

SHOWN = 3


def check_ingested(examples_path: str | Path, manifest: Manifest) -> Iterator[Anomaly]:
    """The anomalies of rows that are not among the examples."""
    rows, limit = manifest.rows, manifest.max_quarantined
    if rows.quarantined:
        share, over = rows.quarantined / rows.read, rows.quarantined > limit * rows.read
        yield Anomaly(
            feature="", split="", severity="ERROR" if over else "WARNING", type="UNEXPECTED_DATA_TYPE",
            short="Rows cannot be read",
            description=f"{rows.quarantined:,} of {rows.read:,} rows ({share:.2%}) could not be read; the limit is "
            f"{limit:.2%}. The first: {_first_quarantined(examples_path)}.",
            rows=rows.quarantined, of_rows=rows.read,
            fix=f"correct the data, all bad rows are in {QUARANTINE} of the examples"
            + ("; or raise ingestion.max_quarantined in module.yaml" if over else ""),
        )  # fmt: skip
    usable = rows.read - rows.quarantined
    if rows.ungrouped and rows.unlabelled + rows.ungrouped == usable:
        yield Anomaly(
            feature="", split="", severity="ERROR", type="NO_DATA_IN_SPAN", short="No groups",
            description=f"The group is missing in all of {rows.ungrouped:,} rows with a label, and such rows are in "
            "neither split.", rows=rows.ungrouped, of_rows=usable,
            fix="bring the column's values, or correct split.column in module.yaml",
        )  # fmt: skip
    if usable and rows.unlabelled == usable:
        yield Anomaly(
            feature=manifest.label, split="", severity="ERROR", type="FEATURE_TYPE_NOT_PRESENT", short="No labels",
            description=f"The label is missing in all of {usable:,} rows.", rows=usable, of_rows=usable,
            fix="bring the labels, or correct `label` in module.yaml",
        )  # fmt: skip


def _first_quarantined(examples_path: str | Path) -> str:
    with (Path(examples_path) / QUARANTINE).open(encoding="utf-8") as lines:
        bad = [json.loads(line) for line in islice(lines, SHOWN)]
    places = [f"{row['file']}:{row['line']}" if row["line"] else row["file"] for row in bad]
    return "; ".join(f"{place}: {row['reason']}" for place, row in zip(places, bad, strict=True))
