"""Models and their provenance as the model store takes them."""

from __future__ import annotations

from pathlib import Path

from slipway.lineage import Lineage
from slipway.stores.model_store import Provenance


def provenance(model: str = "taxi") -> Provenance:
    return Provenance(model=model, lineage=Lineage(run="run-1", module=model, module_digest="d", data_uri="trips.csv"))


def write_model(folder: Path, seed: int = 0) -> Path:
    """Files named as a SavedModel's; the store does not look into them."""
    for name, size in (
        ("saved_model.pb", 3_000),
        ("fingerprint.pb", 50),
        ("variables/variables.index", 200),
        ("variables/variables.data-00000-of-00001", 5_000),
        ("assets/vocabulary", 0),
        ("assets.extra/golden.json", 100),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{seed}-{name}-".encode().ljust(size, b"x")[: max(size, 0)])
    return folder
