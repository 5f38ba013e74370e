"""`validation.json` of validate_serving: whether a model can serve, with every check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from slipway.stores import storage
from slipway.stores.artifacts import read_json

FILE = "validation.json"


class ServingCheck(BaseModel):
    """One property of a served model; `detail` is for people."""

    name: str
    passed: bool
    detail: str

    @classmethod
    def of(cls, name: str, problems: Sequence[str], detail: str = "") -> ServingCheck:
        """A check that passes, with `detail`, if there are no problems."""
        return cls(name=name, passed=not problems, detail="; ".join(problems) or detail)


class ServingValidation(BaseModel):
    """The content of `validation.json`."""

    servable: bool
    checks: list[ServingCheck]

    def reasons(self) -> list[str]:
        """The failed checks; empty for a servable model."""
        return [f"serving check {check.name} failed: {check.detail}" for check in self.checks if not check.passed]


def first_line(error: Exception) -> str:
    """An error's message, without the places in TensorFlow's graph that follow it."""
    return str(error).partition("\n")[0]


def write_validation(validation: ServingValidation, folder: str | Path) -> None:
    """Writes `validation.json`, atomically."""
    storage.write_text(storage.join(str(folder), FILE), validation.model_dump_json(indent=1))


def read_validation(folder: str | Path) -> ServingValidation:
    """The result of an artifact of validate_serving; raises StoreError where it is missing or damaged."""
    return read_json(folder, FILE, ServingValidation, "validate_serving")
