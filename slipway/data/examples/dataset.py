"""The examples artifact: Parquet splits and their manifest.

Layout: `split=train/*.parquet`, `split=eval/*.parquet`, `manifest.json`, `quarantine.jsonl`. Columns are int64, double,
string or binary, or lists of these; an image is a list, of uint8 too, whose field says the shape. A missing value is
null. The sample has the same layout, and the first rows of the eval split alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from slipway.stores.artifacts import check_whole, read_json

if TYPE_CHECKING:
    import pyarrow.dataset as ds

Split = Literal["train", "eval"]
SPLITS: tuple[Split, ...] = ("train", "eval")
MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"


class DataFile(BaseModel):
    """One Parquet file, its path relative to the artifact."""

    path: str
    rows: int
    sha256: str


class RowCounts(BaseModel):
    """`read` = `quarantined` + `left_out` + `train` + `eval`; `left_out`: of neither split, `unlabelled` among them."""

    read: int
    quarantined: int
    left_out: int = 0
    unlabelled: int = Field(0, description="of those left out, the ones whose label is missing")
    ungrouped: int = Field(0, description="of those left out, the ones whose label is known, but not their group")
    train: int
    eval: int


class Manifest(BaseModel):
    """What is in an examples artifact; `digest` is over the files' digests, so equal content has an equal digest."""

    source: dict[str, object] = Field(description="what resolve_source found: files, format, span, digest")
    rows: RowCounts
    files: list[DataFile]
    columns: dict[str, str] = Field(description="name to Arrow type")
    label: str
    weight: str = Field("", description="the column that says how much a row counts, if there is one")
    digest: str
    max_quarantined: float = Field(1.0, description="the share of quarantined rows above which validation refuses")
    split_values: dict[str, int] = Field({}, description="rows of the most frequent values of a `column` split")
    taken: dict[str, str] = Field({}, description="columns of the data that are not in the examples, and why")


def read_manifest(examples_path: str | Path) -> Manifest:
    """The manifest of an examples artifact.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    return read_json(examples_path, MANIFEST, Manifest, "ingest_examples")


def files_of_split(folder: str | Path, split: str) -> list[Path]:
    """The Parquet files of a split of examples, or of transformed examples, by name."""
    return sorted(Path(folder, f"split={split}").glob("*.parquet"))


def row_groups(examples_path: str | Path, split: Split) -> list[tuple[str, int]]:
    """Files of a split, relative to the artifact, with each of their row groups by its index."""
    import pyarrow.parquet as pq

    check_whole(examples_path, MANIFEST, "ingest_examples")
    return [
        (path.relative_to(examples_path).as_posix(), index)
        for path in files_of_split(examples_path, split)
        for index in range(pq.read_metadata(path).num_row_groups)
    ]


def open_split(examples_path: str | Path, split: Split) -> ds.Dataset:
    """One split as an Arrow dataset, to be scanned in batches.

    Raises:
        StoreError: the artifact has no manifest, so it is not whole.
    """
    import pyarrow.dataset as ds

    check_whole(examples_path, MANIFEST, "ingest_examples")
    return ds.dataset(Path(examples_path) / f"split={split}", format="parquet")
