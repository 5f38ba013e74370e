"""Recognises how a table is written, as `ingestion` of a module.yaml says it: delimiter, numbers, missing values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.data.examples.dataset import QUARANTINE
from slipway.data.examples.ingest import IngestConfig, ingest_source
from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.describe import feature_name
from slipway.errors import DataError, DelimiterError, UnusableColumnsError
from slipway.module_api import HashSplit, Ingestion, Label

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.data.examples.source import Source

# Those of pandas and of databases. The last ones may be categories, and count only among numbers.
MARKS = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "Null", "null", "None", "NaN", "nan", "?", "\\N")
MARKS_AMONG_NUMBERS = (*MARKS, "none", "-", "--", ".", "na", "missing", "unknown")
MOST_PASSES = 6
_NUMBER = re.compile(r"[+-]?([0-9]+([., '][0-9]{3})*([.,][0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")  # however written
# Reading needs a label, and none may be known yet: this column is computed, and dropped afterwards.
_PLACEHOLDER = "slipway_placeholder"
_SPLIT = HashSplit()


@dataclass(frozen=True)
class Table:
    """The statistics of a table, how it was read, and what was recognised, in words."""

    statistics: statistics_pb2.DatasetFeatureStatisticsList
    ingestion: Ingestion
    recognised: tuple[str, ...]


def read_table(source: Source, folder: Path, split: HashSplit = _SPLIT) -> Table:
    """Reads data as a run does, into `folder`, again with what was recognised until there is nothing more.

    `split` says how many rows of each split there are among those that are described.

    Raises:
        DataError: it cannot be read.
    """
    ingestion, said = Ingestion(times="seconds"), list[str]()
    for _ in range(MOST_PASSES):
        found: dict[str, Any] = {}
        try:
            statistics = _describe(source, folder, ingestion, split)
            found = _marks(statistics, folder, ingestion) or _numbers(statistics, source, ingestion)
        except UnusableColumnsError as error:
            found = {"ignore": [*ingestion.ignore, *error.columns]}
            said += [f"column {name} is left out: it is {kind}" for name, kind in error.columns.items()]
        except DelimiterError as error:
            found = {"delimiter": error.delimiter}
        except DataError:
            if not (found := _marks(None, folder, ingestion)):
                raise
        if not found:
            break
        said += [f"{key}: {value if isinstance(value, str) else ', '.join(value)}"
                 for key, value in found.items() if key != "ignore"]  # fmt: skip
        ingestion = Ingestion.model_validate(ingestion.model_dump() | found)
    return Table(statistics, ingestion, tuple(said))


def _describe(
    source: Source, folder: Path, ingestion: Ingestion, split: HashSplit
) -> statistics_pb2.DatasetFeatureStatisticsList:
    label = Label(column=_PLACEHOLDER, expression="1")
    config = IngestConfig(task="regression", label=label, split=split, ingestion=ingestion)
    ingest_source(source, config, None, str(folder))
    statistics = compute_statistics(folder)
    for dataset in statistics.datasets:
        kept = [feature for feature in dataset.features if feature_name(feature) != _PLACEHOLDER]
        del dataset.features[:]
        dataset.features.extend(kept)
    return statistics


def _texts(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Iterator[set[str]]:
    """The most frequent values of each text column."""
    columns: dict[str, set[str]] = {}
    for dataset in statistics.datasets:
        for feature in dataset.features:
            if feature.HasField("string_stats"):
                buckets = feature.string_stats.rank_histogram.buckets
                columns.setdefault(feature_name(feature), set()).update(bucket.label.strip() for bucket in buckets)
    yield from columns.values()


def _marks(
    statistics: statistics_pb2.DatasetFeatureStatisticsList | None, folder: Path, ingestion: Ingestion
) -> dict[str, Any]:
    """Marks of missing values, in text columns and in what a column of numbers could not take."""
    quarantine = folder / QUARANTINE
    reasons = quarantine.read_text(encoding="utf-8") if quarantine.exists() else ""
    found = {mark for mark in MARKS_AMONG_NUMBERS if f": '{mark}' is not a".replace("\\", "\\\\") in reasons}
    for values in _texts(statistics) if statistics else ():
        others = values - set(MARKS_AMONG_NUMBERS)
        numeric = bool(others) and all(map(_NUMBER.fullmatch, others))
        found |= values & set(MARKS_AMONG_NUMBERS if numeric else MARKS)
    new = sorted(found - set(ingestion.missing_values))
    return {"missing_values": [*ingestion.missing_values, *new]} if new else {}


def _numbers(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, source: Source, ingestion: Ingestion
) -> dict[str, Any]:
    """The decimal comma, and the mark between thousands, if a text column holds nothing but such numbers."""
    if source.format != "csv" or ingestion.decimal != "." or ingestion.thousands:
        return {}
    texts = list(_texts(statistics))
    has_points = any(feature.type == feature.FLOAT for one in statistics.datasets for feature in one.features)

    def written(decimal: str, between: str) -> list[set[str]]:
        whole = f"[+-]?([0-9]+|[1-9][0-9]{{0,2}}({re.escape(between)}[0-9]{{3}})+)"
        number = re.compile(f"{whole}({re.escape(decimal)}[0-9]+)?")
        return [values for values in texts if all(map(number.fullmatch, values))]

    def having(mark: str, columns: list[set[str]]) -> list[set[str]]:
        return [values for values in columns if any(mark in value for value in values)]

    between = max("'. ", key=lambda mark: len(written(",", mark)))
    columns, thousands = written(",", between), written(".", ",")
    # `1,234` may be either; where fields are not separated by commas, the comma is the decimal one.
    if not has_points and any(ingestion.delimiter != "," or each not in thousands for each in having(",", columns)):
        return {"decimal": ","} | ({"thousands": between} if having(between, columns) else {})
    return next(({"thousands": mark} for mark in ",' " if having(mark, written(".", mark))), {})
