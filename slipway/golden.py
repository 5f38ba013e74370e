"""Golden requests: real rows with the answers that training computed, kept inside the model.

`assets.extra/golden.json` is written by train_model; whoever serves the model can send the rows, as `instances` of
the signature `raw`, and must get the same answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

GOLDEN = "assets.extra/golden.json"
WARMUP = "assets.extra/tf_serving_warmup_requests"


class Golden(BaseModel):
    """Rows and answers, in the same order.

    A row maps features to JSON values; a missing value is left out; bytes that are not UTF-8 are `{"b64": "…"}`.
    """

    instances: list[dict[str, Any]]
    predictions: list[float] | list[list[float]]


def read_golden(model_path: str | Path) -> Golden:
    """The golden requests of a SavedModel."""
    return Golden.model_validate_json(Path(model_path, GOLDEN).read_text(encoding="utf-8"))
