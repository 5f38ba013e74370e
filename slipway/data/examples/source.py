"""The input of a run: the files or the table behind a data URI, and a digest of their content.

A data URI is a file, several, a glob, a directory, or a pattern of spans.
"""

from __future__ import annotations

import glob
import hashlib
import re
from datetime import datetime
from pathlib import Path
from posixpath import commonprefix
from typing import Literal

from pydantic import BaseModel, Field

from slipway.errors import DataError
from slipway.module_api import Ingestion
from slipway.stores import storage

Format = Literal["csv", "parquet", "tfrecord", "avro", "idx", "bigquery"]

_EXTENSIONS: dict[Format, str] = {
    "csv": r"\.csv(-\d+-of-\d+)?(\.gz)?",
    "parquet": r"\.(parquet|pq)(-\d+-of-\d+)?",
    "avro": r"\.avro(-\d+-of-\d+)?",
    "idx": r"[.-]idx\d-\w+(\.gz)?",
    # The second are the shards of TFX's ExampleGen and Transform, whose names end so.
    "tfrecord": r"(\.tfrecords?(-\d+-of-\d+)?|-\d{5}-of-\d{5})(\.gz)?",
}
MOST_COMMAS = 8  # in the name of one file
DATA = "--data, or data in module.yaml"  # what gives the URI of training
SPAN = "{SPAN}"
SNAPSHOT = "snapshot:"  # and a name: `slipway/data/snapshots/`
EXTENSIONS = (
    ".csv, .csv.gz, .parquet, .tfrecord, .tfrecord.gz or .avro, or be a TFRecord of TFX, x-00000-of-00001.gz, or "
    "images of MNIST, x-images-idx3-ubyte.gz"
)


class SourceFile(BaseModel):
    """One file; `digest` changes with its content and with nothing else."""

    uri: str
    size: int
    digest: str
    name: str | None = Field(None, description="of a file of a snapshot: its path where it was taken from")


class Source(BaseModel):
    """The output of resolve_source. It is the cache key of all later steps, so it changes only with the data.

    A source is either `files`, or the BigQuery `table`, or the BigQuery `query`; `features` are joined to its rows.
    """

    uri: str = Field(description="the data URI as it was given")
    format: Format
    digest: str = Field(description="SHA-256 over the content: equal for equal content, wherever it lies")
    files: list[SourceFile] = []
    spans: list[int] = Field([], description="what {SPAN} stood for, oldest first")
    table: str | None = Field(None, description="project.dataset.table")
    query: str | None = Field(None, description="SQL for BigQuery")
    as_of: datetime | None = Field(None, description="the moment whose rows of BigQuery are read")
    features: list[JoinedSource] = []

    def shown(self, file: SourceFile) -> str:
        """The name of a file for people, and for what the names of its folders hold."""
        return f"{self.uri}/{file.name}" if file.name else file.uri


class Join(BaseModel):
    """How the rows of a module get columns of a view; everything but the data that decides what they get.

    `keys` are the view's keys with the row's columns, `columns` the view's columns with their names among the
    examples; `max_age` is in seconds.
    """

    view: str
    sql: str
    keys: dict[str, str]
    time: str
    columns: dict[str, str]
    max_age: int | None = None
    ingestion: Ingestion
    data: str
    row_time: str
    row_time_format: str | None = None


class JoinedSource(BaseModel):
    """A shared feature view that is joined to the rows, and the data that it is computed from."""

    join: Join
    source: Source


def write_source(source: Source, sources_uri: str) -> str:
    """Writes a source under the digest of its JSON text; answers its URI, which is the same for an equal source."""
    text = source.model_dump_json(exclude_none=True)
    uri = storage.join(sources_uri, f"{hashlib.sha256(text.encode()).hexdigest()}.json")
    if not storage.exists(uri):
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


def locate(uri: str, window: int, given_by: str = DATA) -> Source:
    """The files behind a URI, with the digest of their content; arguments and errors are those of `find`."""
    found = find(uri, window, given_by)
    files = [describe_file(file.uri) for file in found.files]
    digest = digest_of(found.format, *(file.digest for file in files))
    return found.model_copy(update={"digest": digest, "files": files})


def find(uri: str, window: int, given_by: str = DATA) -> Source:
    """The format, the files and the spans behind a URI; sizes and digests are left out.

    Args:
        uri: A path, gs:// or s3:// URI of a file, a directory or a glob (`*`, `**`, `[…]`, and `?` on this machine), or
            several with commas between. `{SPAN}` stands for a number: the newest `window` of them are read.
        window: How many spans to read.
        given_by: The option or setting to correct where nothing is there.

    Raises:
        DataError: nothing is there, or it is not of one known format.
    """
    spans: list[int] = []
    if SPAN in uri:
        spans, found = _files_of_spans(uri, window)
    else:
        found = [file for part in parts_of(uri) for file in _files(part, given_by)]
    found = list(dict.fromkeys(found))
    formats = {_format_of(file): file for file in found}
    if None in formats:
        raise DataError(f"{formats[None]}: its name does not show a known format; it should end with {EXTENSIONS}")
    if len(formats) > 1:
        examples = ", ".join(sorted(formats.values()))
        raise DataError(f"{uri}: the files are of several formats ({examples}); read one format at a time")
    kind = _format_of(found[0])
    assert kind
    if kind == "idx":
        found = _with_labels(found)
    files = [SourceFile(uri=file, size=0, digest="") for file in found]
    return Source(uri=uri, format=kind, digest="", files=files, spans=spans)


def names_below(uri: str, files: list[str]) -> list[str]:
    """The paths of files below the folder that a data URI names, or below the one that they share."""
    path = _split(uri)[0]
    fixed = re.split(r"[*?\[]", path, maxsplit=1)[0]
    above = path.rstrip("/") if fixed == path else fixed.rpartition("/")[0]
    paths = [_split(file)[0] for file in files]
    folders = [each.rpartition("/")[0] for each in paths]
    shared = commonprefix([each.split("/") for each in (*folders, *([above] if folders[0].startswith(above) else ()))])
    return ["/".join(each.split("/")[len(shared) :]) for each in paths]


def _with_labels(found: list[str]) -> list[str]:
    """Each idx file of images, followed by that of its labels, if it has any: `x-labels-idx1-ubyte.gz`."""
    pairs: dict[str, str | None] = {}
    for file in found:
        path, query = _split(file)
        folder, _, name = path.rpartition("/")
        if "images" in name:
            labels = re.sub(r"idx\d", "idx1", name.replace("images", "labels"))
            names = [f"{folder}/{stem}{query}" for stem in (labels, labels.removesuffix(".gz"), f"{labels}.gz")]
            pairs[file] = next((each for each in names if storage.exists(each)), None)
    for file in found:
        if file not in pairs and file not in pairs.values():
            raise DataError(
                f"{file}: name the idx file of the images, x-images-idx3-ubyte; its labels are found beside it"
            )
    return [each for pair in pairs.items() for each in pair if each]


def parts_of(uri: str, base: Path | None = None) -> list[str]:
    """The URIs of a list with commas between, local ones below `base`; names may have commas.

    A local name has one if such a file is there. A remote one has, unless a whole URI stands before the comma: one that
    ends like a data file, a folder's with its slash, or a pattern.
    """
    found: list[str] = []
    pieces = uri.split(",")
    while pieces:
        texts = [(size, ",".join(pieces[:size])) for size in range(1, min(len(pieces), MOST_COMMAS + 1) + 1)]
        if has_scheme(pieces[0]):
            there = ((size, text.strip()) for size, text in texts if text.count("://") == 1 and _is_whole(text.strip()))
        else:
            local = ((size, each) for size, text in reversed(texts) for each in (text, text.strip()))
            there = (one for one in local if "://" not in one[1] and _is_there(str((base or Path()) / one[1])))
        size, text = next(there, (1, pieces[0].strip()))
        found.append(text if has_scheme(text) or base is None else str(base / text))
        del pieces[:size]
    return found


def has_scheme(uri: str) -> bool:
    """Whether a URI is none of a local path."""
    return "://" in uri or uri.strip().startswith(SNAPSHOT)


def _is_whole(uri: str) -> bool:
    return _format_of(uri) is not None or uri.partition("?")[0].endswith(("/", "*"))


def _is_there(path: str) -> bool:
    return storage.exists(path) or (_is_pattern(path) and bool(_expand(_absolute(path))))


def digest_of(*parts: str) -> str:
    """SHA-256 over texts and their lengths, so that their boundaries count."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8")
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()


def _format_of(uri: str) -> Format | None:
    """The format of a file by its name, or None."""
    path = uri.partition("?")[0] if "://" in uri else uri
    for name, extension in _EXTENSIONS.items():
        if re.search(extension + r"\Z", path, re.IGNORECASE):
            return name
    return None


def _files(uri: str, given_by: str) -> list[str]:
    """The files of one URI without spans, by name; at least one."""
    whole = _absolute(uri)
    if not storage.exists(whole):
        found = _expand(whole) if _is_pattern(whole) else []
        problem = "no file matches" if _is_pattern(whole) else "there is no such file or directory"
    elif _format_of(whole) if storage.is_remote(whole) else storage.local_path(whole).is_file():
        return [whole]
    else:
        found = [file.uri for file in storage.list_files(whole) if _format_of(file.uri) and _is_data(file.name)]
        problem = f"the directory holds no data file ({EXTENSIONS})"
    if not found:
        raise DataError(f"{uri}: {problem}; correct {given_by}")
    return found


def _files_of_spans(uri: str, window: int) -> tuple[list[int], list[str]]:
    """The newest spans, oldest first, and their files in that order."""
    if "," in uri:
        raise DataError(f"{uri}: {SPAN} works in one pattern, without commas")
    pattern = _absolute(uri)
    path = _split(pattern)[0]
    if not _format_of(path) and not _is_pattern(path.rpartition("/")[2]):
        pattern = storage.join(pattern, "**")  # the last name is a directory's
    matcher = re.compile(_regex(pattern))
    by_span: dict[int, list[str]] = {}
    for file in _expand(pattern):
        match = matcher.fullmatch(file)
        if match and _format_of(file):
            by_span.setdefault(int(match["span"]), []).append(file)
    if not by_span:
        raise DataError(f"{uri}: no data file ({EXTENSIONS}) matches with a number in the place of {SPAN}")
    spans = sorted(by_span)[-window:]
    return spans, [file for span in spans for file in by_span[span]]


def _expand(pattern: str) -> list[str]:
    """Files that match a glob, by name; `{SPAN}` matches as `*` does on this machine."""
    path, query = _split(pattern)
    if not storage.is_remote(pattern):
        found = glob.glob(path.replace(SPAN, "*"), recursive=True)  # noqa: PTH207 - pathlib cannot take absolute patterns
        return sorted(
            file for file in found if storage.local_path(file).is_file() and _is_data(file.rpartition("/")[2])
        )
    folder = re.split(r"[*\[{]", path, maxsplit=1)[0].rpartition("/")[0]
    matcher = re.compile(_regex(pattern))
    return [file.uri for file in storage.list_files(folder + query)
            if matcher.fullmatch(file.uri) and _is_data(file.name)]  # fmt: skip


def _regex(pattern: str) -> str:
    """A glob as a regular expression, with the number of `{SPAN}` as the group `span`."""
    path, query = _split(pattern)
    spans = iter([r"(?P<span>\d+)"])
    wildcards = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\]|\{SPAN\})", path)
    translated = [
        next(spans, "(?P=span)") if piece == SPAN
        else wildcards.get(piece) or (re.sub(r"^\[!", "[^", piece) if piece.startswith("[") else re.escape(piece))
        for piece in pieces
    ]  # fmt: skip
    return "".join(translated) + re.escape(query)


def _is_pattern(uri: str) -> bool:
    return re.search(r"[*?\[]", _split(uri)[0]) is not None


def _is_data(name: str) -> bool:
    """Whether a file is neither hidden nor a marker such as `_SUCCESS`."""
    return not any(part.startswith((".", "_")) for part in name.split("/"))


def _absolute(uri: str) -> str:
    return uri if storage.is_remote(uri) else str(storage.local_path(uri).expanduser().absolute())


def _split(uri: str) -> tuple[str, str]:
    """A remote URI's path, and its query with the question mark; a local path has no query."""
    path, question, query = uri.partition("?") if storage.is_remote(uri) else (uri, "", "")
    return path, question + query


def describe_file(uri: str) -> SourceFile:
    """A file with its size and digest: SHA-256 on this machine, the store's own checksum of a remote one."""
    if storage.is_remote(uri):
        size, checksum = storage.fingerprint(uri)
        return SourceFile(uri=uri, size=size, digest=checksum)
    path = storage.local_path(uri)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SourceFile(uri=uri, size=path.stat().st_size, digest=digest)
