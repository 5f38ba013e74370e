"""A small CSV file and how it is ingested."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "task": "binary",
    "label": {"column": "big_tip", "expression": "tips > 0.2 * fare", "training_only": ["tips"]},
    "split": {"method": "hash", "train": 2.0, "eval": 1.0},
    "ingestion": {"max_quarantined": 0.01, "window": 1.0},
}
ROWS = "fare,tips,company\n" + "".join(f"{10 + n % 5}.5,{n % 4},Cab {n % 3}\n" for n in range(300))
