"""The manifest of a version, and the digest of a model's files."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from slipway.errors import StoreError
from slipway.lineage import Lineage
from slipway.remote.address import shown


class ModelFile(BaseModel):
    """One file of a SavedModel, its path relative to the version's directory."""

    path: str
    size: int = Field(description="bytes")
    sha256: str


class Provenance(BaseModel):
    """Origin of a model and the reasons for its push, as `slipway explain` shows them."""

    model: str = Field(description="name of the model, equal to that of its module")
    lineage: Lineage
    data_digest: str = ""
    schema_digest: str = ""
    metrics: dict[str, float | None] = {}
    reasons: list[str] = Field([], description="of the verdict: checks that passed, and checks that could not be made")
    baseline_version: int | None = None
    artifacts: dict[str, str] = Field({}, description="artifact name to URI: statistics, schema, evaluation, …")


class Manifest(Provenance):
    """The record of one version."""

    version: int
    created: float = Field(description="seconds since 1970, UTC")
    pushed_by: str = Field("", description="user or service account")
    model_digest: str
    files: list[ModelFile]


@dataclass(frozen=True)
class Version:
    """One version of a model; `uri` is the SavedModel's directory."""

    model: str
    number: int
    uri: str
    manifest: Manifest


@dataclass(frozen=True)
class Pushed:
    """Result of a push; `is_new` is False where the newest version already held the same bytes."""

    version: Version
    is_new: bool


def digest_model(model_path: str | Path) -> str:
    """SHA-256, in hex, over the paths and contents of a SavedModel's files; StoreError if there is none."""
    files = hash_files(Path(model_path))
    if not files:
        raise StoreError(f"{model_path} holds no model: there is no file in it")
    return combine(files)


def combine(files: Iterable[ModelFile]) -> str:
    """One digest of all files; equal for equal paths and contents."""
    lines = sorted(f"{file.sha256} {file.size} {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compare(expected: Iterable[ModelFile], actual: Iterable[ModelFile], uri: str) -> list[str]:
    """Differences between two lists of files, one per line, ordered by path."""
    pushed, found = {file.path: file for file in expected}, {file.path: file for file in actual}
    where = shown(uri)
    problems = [f"{where}/{path} is missing" for path in pushed.keys() - found.keys()]
    problems += [f"{where}/{path} is not part of the version" for path in found.keys() - pushed.keys()]
    problems += [
        f"{where}/{path} was changed: {found[path].size:,} bytes with SHA-256 {found[path].sha256}, "
        f"pushed were {pushed[path].size:,} bytes with {pushed[path].sha256}"
        for path in pushed.keys() & found.keys()
        if found[path] != pushed[path]
    ]
    return sorted(problems)


def hash_files(folder: Path) -> list[ModelFile]:
    """All files of a directory, at any depth, ordered by path."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            files.append(ModelFile(path=path.relative_to(folder).as_posix(), size=file.tell(), sha256=digest))
    return files
