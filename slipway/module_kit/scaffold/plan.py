"""Plans a new module from the statistics of its data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from slipway.data.examples.dataset import SPLITS, open_split
from slipway.data.schema import fewest_rows
from slipway.data.statistics.describe import feature_name, unique_count
from slipway.data.statistics.io import dataset_of
from slipway.errors import ConfigError, DataError
from slipway.module_api import Ingestion
from slipway.module_kit.scaffold.columns import tell_column, words_of
from slipway.module_parts.dates import pairs
from slipway.strict_yaml import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorflow_metadata.proto.v0 import statistics_pb2

    from slipway.data.validation.leaks import Leak
    from slipway.module_api import Task
    from slipway.module_kit.scaffold.columns import Column, Kind

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
    regression dropout costs, and the loss falls for long; classes of a few rows are soon learned by heart, so that
    these have a narrow network and more dropout.
    """
    regression = task == "regression"
    narrow = rows < 1_000 and not regression
    return Size(
        buckets=max(4, min(32, rows // 50, 500 // max(1, numbers))),
        members=8 if rows < 50_000 else 4,
        hidden=(16,) if narrow else (64, 32),
        dropout=0.0 if regression else 0.3 if narrow else 0.2,
        batch_size=32 if rows < 3_000 else 128 if rows < 30_000 else 512,
        epochs=200 if rows < 3_000 else 40,
        patience=20 if regression and rows < 3_000 else 5,
    )


@dataclass(frozen=True)
class Plan:
    """Everything that the templates say of one module.

    `dates` are columns and how they are written. `left_out` and `training_only` are columns that are kept from the
    model, and why; `passed_over` are those of them that would be categories. `suspects` are leaks: a sentence, and the
    columns. `notes` say what is not plain of a column that is learned.
    """

    name: str
    data: str
    rows: int
    label: str
    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    numbers: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    passed_over: tuple[str, ...] = ()
    training_only: tuple[tuple[str, str], ...] = ()
    suspects: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    time_split: dict[str, str | int] | None = None
    group: str = ""
    vocabulary_size: int = 1000
    ingestion: Ingestion = field(default_factory=Ingestion)
    fewest: int = 1

    @property
    def size(self) -> Size:
        """What fits the data."""
        parts = 2 * len(self.dates) + len(pairs(self.dates))  # year and days of each, days between two
        return size_of(self.task, self.rows, len(self.numbers) + len(self.quantities) + parts)

    @property
    def has_numbers(self) -> bool:
        """Whether anything is learned as a number."""
        return bool(self.numbers or self.quantities or self.dates)

    @property
    def has_categories(self) -> bool:
        """Whether anything is learned as a category."""
        return bool(self.categories or self.dates)

    @property
    def rare(self) -> int:
        """Rows below which a value, or a word, shares a bucket with others."""
        return 2 if self.rows < 1_000 else 5 if self.rows < 5_000 else 10

    @property
    def words(self) -> int:
        """Words of a text column that are learned; each takes four bytes of every row."""
        return 1_000 if self.rows <= 50_000 else 300

    def groups(self) -> Iterator[tuple[str, str]]:
        """What is learned as what, and what is not and why: a title and the columns of each group."""

        def listed(columns: Iterable[str]) -> str:
            return ", ".join(f"{name} ({self.notes[name]})" if name in self.notes else name for name in columns)

        yield "numbers", listed(self.numbers)
        yield "numbers with a unit", listed(self.quantities)
        yield "categories", listed(self.categories)
        yield (
            "dates",
            ", ".join(
                f"{listed([name])} as {written if '%' in written else f'{written} since 1970'}"
                for name, written in self.dates
            ),
        )
        yield "text", listed(self.texts)
        for what, columns in (("left out", self.left_out), ("for training only", self.training_only)):
            for why in dict.fromkeys(why for _, why in columns):
                yield what, f"{', '.join(name for name, reason in columns if reason == why)}: {why}"
        if self.time_split:
            yield "to split by time", f"module.yaml has a line for {self.time_split['column']}, as a comment"
        if self.group:
            yield "to keep the rows of one together", f"module.yaml has a line for {self.group}, as a comment"


def plan_module(
    name: str,
    data: str,
    label: str,
    labels: Sequence[Any],
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    ingestion: Ingestion,
    leaks: Sequence[Leak] = (),
) -> Plan:
    """A plan for data of one table; DataError if the label cannot be learned, or no column could help to.

    `data` is what `module.yaml` names as its data, `ingestion` how it was read, `labels` are the values of the column
    `label`, without missing ones. A column that is a copy of the label is kept for training only; other `leaks` are for
    a person to judge. Of the statistics the training split decides.
    """
    train = dataset_of(statistics, "train")
    features = {feature_name(feature): feature for feature in train.features}
    columns = [tell_column(one, int(train.num_examples)) for column, one in features.items() if column != label]
    unusable = [(column, "examples cannot hold its type") for column in ingestion.ignore]
    copies = {leak.columns[0]: leak.describe(label) for leak in leaks if leak.how == "copy"}
    learned = [column for column in columns if column.kind != "left_out" and column.name not in copies]
    left_out = [column for column in columns if column.kind == "left_out"]

    def names(kind: Kind) -> tuple[str, ...]:
        return tuple(column.name for column in learned if column.kind == kind)

    if not learned:
        reasons = [*((column.name, column.why) for column in left_out), *copies.items(), *unusable]
        said = "; ".join(f"{column}: {why}" for column, why in reasons)
        raise DataError(f"{data} has no column that could predict {label}. {said}")
    categories, dates = names("category"), [column for column in learned if column.kind == "date"]
    few = [column for column in categories if 0 < unique_count(features[column]) <= SLICE_VALUES]
    return Plan(
        name=name,
        data=data,
        rows=int(train.num_examples),
        label=label,
        numbers=names("number"),
        quantities=names("quantity"),
        categories=categories,
        dates=tuple((column.name, column.written) for column in dates),
        texts=names("text"),
        slices=tuple(few[:SLICES]),
        left_out=(*unusable, *((column.name, column.why) for column in left_out if column.name not in copies)),
        passed_over=(*(column.name for column in left_out if column.learnable and column.name not in copies), *copies),
        training_only=tuple(copies.items()),
        suspects=tuple((leak.describe(label), leak.columns) for leak in leaks if leak.how != "copy"),
        notes={column.name: column.why for column in learned if column.why},
        time_split=_time_split(dates),
        group=next((column.name for column in left_out if column.repeats), ""),
        vocabulary_size=1_000 if sum(unique_count(features[column]) for column in categories) <= 1_000 else 10_000,
        ingestion=ingestion,
        fewest=fewest_rows(statistics),
        **_plan_label(label, labels),
    )


def _time_split(dates: Sequence[Column]) -> dict[str, str | int] | None:
    """The split by the first date that is not of a birth: what is newest is evaluated."""
    born = {"birth", "birthday", "birthdate", "dob", "born"}
    date = next((one for one in dates if not born & set(words_of(one.name))), None)
    if date is None:
        return None
    split: dict[str, str | int] = {"method": "time", "column": date.name, "eval_from": date.eval_from}
    return split | ({"format": date.written} if isinstance(date.eval_from, str) and "%" in date.written else {})


def candidates(statistics: statistics_pb2.DatasetFeatureStatisticsList, label: str) -> list[str]:
    """The columns that are learned, unless they tell the label."""
    train = dataset_of(statistics, "train")
    columns = (tell_column(one, int(train.num_examples)) for one in train.features)
    return [column.name for column in columns if column.name != label and column.kind != "left_out"]


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
