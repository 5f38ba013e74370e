"""Reads the JSON that a step left in its artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from slipway.errors import StoreError

Form = TypeVar("Form", bound=BaseModel)


def read_json(folder: str | Path, file: str, form: type[Form], step: str) -> Form:
    """One file of an artifact of `step`, parsed.

    Raises:
        StoreError: it is missing, or not what that step writes.
    """
    path = Path(folder) / file
    if not path.is_file():
        raise StoreError(f"{path} is missing: {folder} is not an output of {step}")
    try:
        return form.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise StoreError(f"{path} is damaged: {where}: {problem['msg']}; run {step} again") from error
