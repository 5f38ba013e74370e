"""A project with one shared feature view, and rows that join it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway.data.examples.joins import joins_of
from slipway.data.examples.source import Source
from slipway.data.snapshots.resolve import resolve
from slipway.module_api import ModuleConfig
from tests.slipway.data.examples.ingesting import HASH, Ingested, ingest

VIEW = "driver/daily"
SQL = "SELECT driver, known, trips FROM data"


def write_view(project: Path, sql: str = SQL, *, name: str = VIEW, **header: Any) -> Path:
    """The file of a view over `facts.parquet` of the project."""
    lines = {"description": "Trips", "owner": "ann", "keys": "[driver]", "time": "known", "data": "facts.parquet"}
    lines |= header
    path = project / "features" / f"{name}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"-- {key}: {value}\n" for key, value in lines.items()) + sql + "\n")
    return path


def joined(
    project: Path, data: str, *views: dict[str, Any], split: dict[str, Any] | None = None, **ingestion: Any
) -> Source:
    """What a run on data of the project reads, with views joined to it; `trips` of the one view, if none is given."""
    config = ModuleConfig.model_validate({
        "contract": 1, "task": "binary", "label": {"column": "y"},
        "split": split or HASH, "features": views or [{"view": VIEW, "columns": ["trips"]}],
        "ingestion": {"event_time": "at", **ingestion},
    })  # fmt: skip
    return resolve(str(project / data), 1, "", joins_of(config, project))


def ingest_joined(project: Path, data: str, *views: dict[str, Any], **ingestion: Any) -> Ingested:
    """The examples of rows that have `id` and `y`."""
    source = joined(project, data, *views, **ingestion)
    return ingest(source, project / "examples", **ingestion)


def as_of(facts: dict[tuple[Any, Any], Any], key: Any, time: Any, max_age: int | None) -> Any:
    """The value that a row should get, as plainly as it can be said."""
    newest = None
    for (its, known), value in facts.items():
        if None in (its, known, key, time) or its != key or known > time:
            continue
        if (max_age is None or time - known <= max_age) and (newest is None or known > newest[0]):
            newest = (known, value)
    return newest[1] if newest else None
