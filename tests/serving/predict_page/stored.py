"""A home whose store has the model tiny, with the schema that it was trained with."""

from __future__ import annotations

from pathlib import Path

from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, Provenance
from tests.served_models import write_saved_model, write_schema


def write_home(home: Path) -> int:
    """Fills a home, and returns the version's number."""
    provenance = Provenance(
        model="tiny",
        lineage=Lineage(run="r", module="tiny", module_digest="d", data_uri="d"),
        artifacts={"schema": str(write_schema(home / "artifacts" / "schema"))},
    )
    return LocalModelStore(home / "models").push(write_saved_model(home / "model"), provenance).version.number
