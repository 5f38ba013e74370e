"""`assets.extra/golden.json` of a model: requests with the answers that training computed."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FILE = "assets.extra/golden.json"


class Golden(BaseModel):
    """Requests and answers, row by row; small enough to be sent to a server as one batch."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    examples: list[str] = Field(description="serialized tf.Examples, base64", min_length=1)
    predictions: list[float] | list[list[float]] = Field(description="of serving_default: [N] or [N, K]")
    transformed: dict[str, list[Any]] = Field({}, description="the training inputs of the rows, by name: [N, …]")

    @model_validator(mode="after")
    def _rows_fit(self) -> Golden:
        for name, values in {"predictions": self.predictions, **self.transformed}.items():
            if len(values) != len(self.examples):
                raise ValueError(f"{len(self.examples)} examples, but {len(values)} {name}")
        return self

    @classmethod
    def of(
        cls,
        examples: list[bytes],
        predictions: list[float] | list[list[float]],
        transformed: Mapping[str, NDArray[Any]] | None = None,
    ) -> Golden:
        """From serialized tf.Examples."""
        return cls(
            examples=[base64.b64encode(one).decode() for one in examples],
            predictions=predictions,
            transformed={name: values.tolist() for name, values in (transformed or {}).items()},
        )

    def serialized(self) -> list[bytes]:
        """The tf.Examples as `serving_default` takes them."""
        return [base64.b64decode(one) for one in self.examples]


def write_golden(golden: Golden, model_path: str | Path) -> None:
    """Writes `assets.extra/golden.json` into a SavedModel, atomically."""
    storage.write_text(storage.join(str(model_path), FILE), golden.model_dump_json(indent=1))


def read_golden(model_path: str | Path) -> Golden:
    """The golden requests of a SavedModel; StoreError where there are none, ValueError where they are damaged."""
    return Golden.model_validate_json(storage.read_bytes(storage.join(str(model_path), FILE)))
