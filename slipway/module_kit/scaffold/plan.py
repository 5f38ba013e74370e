"""Plans a new module from the statistics of its data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from slipway.data.examples.dataset import SPLITS, open_split
from slipway.data.statistics.describe import common_stats, feature_name, unique_count
from slipway.data.statistics.io import dataset_of
from slipway.errors import ConfigError, DataError
from slipway.module_api import Ingestion
from slipway.strict_yaml import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.module_api import Task

MOST_CLASSES = 20
SLICE_VALUES, SLICES = 20, 3
USUAL_LABELS = ("label", "target", "class", "y", "outcome")
POSITIVE = ("1", "true", "yes", "y", "positive", "pos", "good")


@dataclass(frozen=True)
class Size:
    """How large a model is, and how long it learns, as `benchmarks/tables.py` found it to be good."""

    buckets: int
    members: int
    hidden: tuple[int, ...]
    dropout: float
    batch_size: int
    epochs: int
    patience: int


def size_of(task: Task, rows: int, numbers: int) -> Size:
    """For rows to train on, and columns of numbers.

    Small data have small batches, so that an epoch has some steps, and few buckets, so that each has some rows. Many
    columns have few buckets, too, since each makes inputs. Large data have fewer members, since time is short. In
    regression dropout costs, and the loss falls for long; classes of a few rows are soon learned by heart.
    """
    regression = task == "regression"
    return Size(
        buckets=max(4, min(32, rows // 50, 500 // max(1, numbers))),
        members=8 if rows < 50_000 else 4,
        hidden=(64, 32),
        dropout=0.0 if regression else 0.2,
        batch_size=32 if rows < 3_000 else 128 if rows < 30_000 else 512,
        epochs=200 if rows < 3_000 else 40,
        patience=20 if regression and rows < 3_000 else 5,
    )


@dataclass(frozen=True)
class Plan:
    """Everything that the templates say of one module; `left_out` are columns that no model should see, and why."""

    name: str
    data: str
    rows: int
    label: str
    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    ingestion: Ingestion = field(default_factory=Ingestion)

    @property
    def size(self) -> Size:
        """What fits the data."""
        return size_of(self.task, self.rows, len(self.numbers))


def plan_module(
    name: str,
    data: str,
    label: str,
    labels: Sequence[Any],
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    ingestion: Ingestion,
) -> Plan:
    """A plan for data of one table; DataError if the label cannot be learned, or no column could help to.

    `data` is what `module.yaml` names as its data, `ingestion` how it was read, `labels` are the values of the column
    `label`, without missing ones.
    Of the statistics the training split decides.
    """
    train = dataset_of(statistics, "train")
    features = {feature_name(feature): feature for feature in train.features}
    kinds = {column: _kind(one, train.num_examples) for column, one in features.items() if column != label}
    numbers, categories = (
        tuple(column for column, (kind, _) in kinds.items() if kind == wanted) for wanted in ("number", "category")
    )
    left_out = tuple((column, why) for column, (kind, why) in kinds.items() if not kind)
    if not numbers and not categories:
        reasons = "; ".join(f"{column}: {why}" for column, why in left_out)
        raise DataError(f"{data} has no column that could predict {label}. {reasons}")
    slices = tuple(column for column in categories if unique_count(features[column]) <= SLICE_VALUES)[:SLICES]
    return Plan(
        name=name,
        data=data,
        rows=int(train.num_examples),
        label=label,
        numbers=numbers,
        categories=categories,
        slices=slices,
        left_out=left_out,
        ingestion=ingestion,
        **_plan_label(label, labels),
    )


def choose_label(statistics: statistics_pb2.DatasetFeatureStatisticsList, wanted: str | None) -> str:
    """The wanted column (ConfigError if there is none); without one, a column called like a label, else the last."""
    columns = [feature_name(feature) for feature in dataset_of(statistics, "train").features]
    if wanted is None:
        return next((column for column in columns if column.lower() in USUAL_LABELS), columns[-1])
    if wanted not in columns:
        raise ConfigError(f"the data has no column {wanted!r}{nearest(wanted, columns)}")
    return wanted


def read_labels(examples_path: str, label: str) -> list[Any]:
    """The label's values in both splits, without missing ones."""
    columns = (open_split(examples_path, split).to_table(columns=[label])[label].drop_null() for split in SPLITS)
    return [value for column in columns for value in column.to_pylist() if value == value]  # NaN is missing too


def _plan_label(label: str, labels: Sequence[Any]) -> dict[str, Any]:
    """Task and classes by the values: two are binary, a few multiclass, many numbers regression."""
    if labels and isinstance(labels[0], list | bytes):
        raise DataError(f"the label {label} holds lists or binary data; choose a column of single values with --label")
    counts = Counter(labels)
    if len(counts) < 2:
        few = f"the label {label} has {len(counts)} different values"
        raise DataError(f"{few}; there is nothing to learn. Choose another with --label")
    numeric = all(isinstance(value, int | float) for value in counts)
    whole = numeric and all(float(value).is_integer() for value in counts)
    if numeric and (not whole or len(counts) > MOST_CLASSES):
        mean = fmean(labels)
        deviation = (sum((value - mean) ** 2 for value in labels) / len(labels)) ** 0.5
        return {"task": "regression", "mean": mean, "deviation": deviation}
    if len(counts) > MOST_CLASSES:
        raise DataError(
            f"the label {label} has {len(counts):,} different texts, which are too many for classes "
            f"({MOST_CLASSES} at most). Choose another column with --label"
        )
    names = [str(int(value)) if numeric else str(value) for value in sorted(counts)]
    if len(names) > 2:
        return {"task": "multiclass", "classes": tuple(names)}
    if numeric:  # the larger one is predicted
        return {"task": "binary", "classes": () if names == ["0", "1"] else tuple(names)}
    named = [text for text in names if text.lower() in POSITIVE]
    positive = named[0] if len(named) == 1 else min(names, key=lambda text: counts[text])
    classes = tuple(sorted(names, key=lambda text: text == positive))
    return {"task": "binary", "classes": classes}


def _kind(feature: statistics_pb2.FeatureNameStatistics, rows: int) -> tuple[str, str]:
    """`number`, `category`, or neither and why."""
    common, unique = common_stats(feature), unique_count(feature)
    present = common.num_non_missing
    if present == 0:
        return "", "it is always missing"
    if common.max_num_values > 1:
        return "", "it holds lists; reduce or embed them in preprocessing.py"
    if feature.HasField("num_stats"):
        stats = feature.num_stats
        if stats.min == stats.max and present == rows:
            return "", "it has one value only"
        dense = stats.max - stats.min < 4 * rows
        if feature.type == feature.INT and rows > 50 and unique > 0.95 * present and dense:
            return "", "every row has its own whole number: it looks like an id"
        return "number", ""
    if not feature.HasField("string_stats"):
        return "", "it holds binary data"
    if unique == 1 and present == rows:
        return "", "it has one value only"
    if unique > 50 and unique > 0.5 * present:
        return "", "most rows have a text of their own: it looks like an id, a time or free text"
    return "category", ""
