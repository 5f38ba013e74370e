"""Artifacts: folders that steps hand to each other. The file written last marks one as complete; readers check it.

On Vertex they lie below `/gcs`, where Cloud Storage FUSE cannot rename a folder that is not empty; so none is renamed
(docs/decisions/0017-artifacts-are-written-in-place.md). Every function raises `StoreError`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from slipway.errors import StoreError
from slipway.remote.address import shown
from slipway.stores import storage

Form = TypeVar("Form", bound=BaseModel)

# Last file of artifacts in formats of other tools; for the others it is the one that `read_json` reads.
MODEL = "saved_model.pb"
TRANSFORM_GRAPH = f"transform_fn/{MODEL}"
TRANSFORMED = "_SUCCESS"


def clear_artifact(folder: str | Path, last: str) -> None:
    """Empties an artifact before it is written, its last file first: it may hold files of an earlier attempt."""
    with writing(folder):
        (Path(folder) / last).unlink(missing_ok=True)
        if Path(folder).exists():
            shutil.rmtree(folder)
        Path(folder).mkdir(parents=True)


@contextmanager
def built_on_local_disk(folder: str | Path, last: str) -> Iterator[Path]:
    """A local folder for libraries that rename or seek; when the block ends, its files replace the artifact's."""
    with tempfile.TemporaryDirectory(prefix="slipway-artifact-") as local:
        yield Path(local)
        clear_artifact(folder, last)
        storage.copy_folder(local, str(folder), last)


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Translates an OSError in its block into a StoreError that names the artifact."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error}. Fix the disk or the bucket, then run again") from error


def check_whole(folder: str | Path, last: str, step: str) -> None:
    """Refuses an incomplete artifact: one without the file that `step` writes last."""
    path = Path(folder) / last
    if not path.is_file():
        raise StoreError(
            f"{path} is missing: {folder} is not an output of {step}, or {step} was stopped before it had written all "
            f"of it; run {step} again"
        )


def read_json(folder: str | Path, file: str, form: type[Form], step: str) -> Form:
    """One file of an artifact of `step`, parsed; it may not be missing or damaged."""
    check_whole(folder, file, step)
    path = Path(folder) / file
    return parse_json(path.read_bytes(), form, str(path), f"run {step} again")


def parse_json(content: bytes, form: type[Form], uri: str, fix: str) -> Form:
    """The content of a JSON file that Slipway wrote; damaged, its first mistake is named."""
    try:
        return form.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise StoreError(f"{shown(uri)} is damaged: {place}: {problem['msg']}; {fix}") from error
