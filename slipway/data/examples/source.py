"""The input of a run: the files or the table behind a data URI, and a digest of their content."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from pydantic import BaseModel, Field

from slipway.errors import DataError
from slipway.stores import storage

Format = Literal["csv", "parquet", "tfrecord", "avro", "bigquery"]

_EXTENSIONS: dict[Format, str] = {
    "csv": r"\.csv(\.gz)?",
    "parquet": r"\.parquet",
    "tfrecord": r"\.tfrecord(-\d+-of-\d+)?(\.gz)?",
    "avro": r"\.avro",
}
EXTENSIONS = ".csv, .csv.gz, .parquet, .tfrecord, .tfrecord.gz or .avro"


class SourceFile(BaseModel):
    """One file; `digest` changes with its content and with nothing else."""

    uri: str
    size: int
    digest: str


class Source(BaseModel):
    """The output of resolve_source. It is the cache key of all later steps, so it changes only with the data.

    A source is either `files`, or the BigQuery `table`, or the BigQuery `query`.
    """

    uri: str = Field(description="the data URI as it was given")
    format: Format
    digest: str = Field(description="SHA-256 over the content: equal for equal content, wherever it lies")
    files: list[SourceFile] = []
    spans: list[int] = Field([], description="what {SPAN} stood for, oldest first")
    table: str | None = Field(None, description="project.dataset.table")
    query: str | None = Field(None, description="SQL for BigQuery")


def write_source(source: Source, sources_uri: str) -> str:
    """Writes a source under the digest of its JSON text; answers its URI, which is the same for an equal source."""
    text = source.model_dump_json(exclude_none=True)
    uri = storage.join(sources_uri, f"{hashlib.sha256(text.encode()).hexdigest()}.json")
    storage.write_text(uri, text)
    return uri


def read_source(source_uri: str) -> Source:
    """What `write_source` wrote.

    Raises:
        DataError: the file was changed since.
        StoreError: there is none.
    """
    content = storage.read_bytes(source_uri)
    digest = hashlib.sha256(content).hexdigest()
    if f"/{digest}.json" not in source_uri:
        raise DataError(f"{source_uri} was changed: its digest is {digest}. Delete it and start a new run")
    return Source.model_validate_json(content)


def format_of(uri: str) -> Format | None:
    """The format of a file by its name, or None."""
    path = uri.partition("?")[0] if "://" in uri else uri
    for name, extension in _EXTENSIONS.items():
        if re.search(extension + r"\Z", path, re.IGNORECASE):
            return name
    return None


def common_format(uri: str, files: list[str]) -> Format:
    """The one format of these files.

    Raises:
        DataError: a name shows no known format, or the files are of several.
    """
    formats = {file: format_of(file) for file in files}
    unknown = next((file for file, found in formats.items() if found is None), None)
    if unknown:
        raise DataError(f"{unknown}: its name does not show a known format; it should end with {EXTENSIONS}")
    by_format = {found: file for file, found in formats.items() if found is not None}
    if len(by_format) > 1:
        examples = ", ".join(sorted(by_format.values()))
        raise DataError(f"{uri}: the files are of several formats ({examples}); read one format at a time")
    return next(iter(by_format))


def digest_of(*parts: str) -> str:
    """SHA-256 over texts and their lengths, so that their boundaries count."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8")
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()
