"""The contract between Slipway and a module: what a data scientist writes, and what a module may import.

A module is a folder `modules/<name>/`:

- `module.yaml`        parsed into `ModuleConfig` below; an unknown key is an error.
- `preprocessing.py`   `preprocessing_fn(inputs)`: TensorFlow Transform's, with `inputs` a dict from each feature of the
                       schema (the label and `label.training_only` columns left out) to a `tf.SparseTensor` of shape
                       `[batch, 1]` (a `tf.Tensor` of the fixed shape where the schema gives one), or a
                       `tf.RaggedTensor` for lists; it returns a dict from transformed names to dense tensors.
- `model.py`           `build_model(features, hyperparameters)`: `features` maps each transformed name to a
                       `keras.KerasTensor` input without its batch dimension's size; `hyperparameters` is
                       the dict of `module.yaml`. It returns a compiled `keras.Model` that takes that dict and answers
                       `[batch, 1]` probabilities (binary), `[batch, classes]` probabilities (multiclass) or
                       `[batch, 1]` values (regression). Optional is `search_space(trial)`, for what `search_space` of
                       `module.yaml` cannot say: it draws values by the methods of Optuna's `trial`
                       (`trial.suggest_int("layers", 1, 3)`) and returns them as hyperparameters, a dict.
- `metrics.py`         optional, the metrics that `metrics` of `module.yaml` names, each a function
                       `name(labels, predictions, weights)` of NumPy arrays that answers a number, NaN if undefined:
                       labels are 0 and 1, class indices or values, `[rows]`; predictions are `[rows]`, or
                       `[rows, classes]`; weights are 1 without `label.weight`. Invalid predictions are never among
                       them. Thresholds may name them. It is called for all rows and for each slice, and imported by
                       no other file.
- `schema.pbtxt`       optional, a curated `tensorflow_metadata` schema; it wins over the inferred one. Without features
                       it bounds the data as a whole (`dataset_constraints`), and the features are inferred. What
                       `annotation { tag: "unit=USD" comment: "…" }` says of a column is on the page that predicts.
- `requirements.lock`  of a module whose `module.yaml` lists `requirements`; `slipway module lock` writes it.
- `sample.py`          optional, `write_sample(path, rows, seed)`: synthetic rows for a first run and for tests, as CSV;
                       or, beside `path` in a folder of their own, as files of another format that ingestion reads.

Files of a module import each other relatively (`from .preprocessing import …`). Of Slipway they import this package,
and the parts in `slipway.module_parts`: `dates`, `quantities` (numbers with a unit), `linear_steps` (numbers as a
network learns them best) and `ensemble` (several networks as one model).
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from slipway.module_api.base import Better as Better
from slipway.module_api.base import MetricName as MetricName
from slipway.module_api.base import Strict
from slipway.module_api.base import Task as Task
from slipway.module_api.batch import BatchPrediction as BatchPrediction
from slipway.module_api.features import JoinedView as JoinedView
from slipway.module_api.monitoring import MonitoredFeature as MonitoredFeature
from slipway.module_api.monitoring import Monitoring as Monitoring
from slipway.module_api.monitoring import Retraining as Retraining
from slipway.module_api.thresholds import Threshold as Threshold
from slipway.module_api.tuning import TUNED_TRAINING as TUNED_TRAINING
from slipway.module_api.tuning import Hyperparameters as Hyperparameters
from slipway.module_api.tuning import Searched as Searched
from slipway.module_api.tuning import Tuning as Tuning

if TYPE_CHECKING:
    import tensorflow as tf

CONTRACT = 1


class Label(Strict):
    """What the model predicts.

    `column` alone names a column of the data. With `expression` (SQL over the row's columns, evaluated by DuckDB when
    the examples are ingested) the column is computed: `tips > 0.2 * fare`. A NULL label is a missing label. So is one
    in whose expression NaN occurs: `tips / fare > 0.2` where both are 0, `sqrt(x) > 1` where x is negative, whatever
    OR, coalesce or isnan would make of it. What is not evaluated does not count: `CASE WHEN fare > 0 THEN tips / fare
    > 0.2 ELSE false END` gives every row a label. A subquery with rows of its own may look values up, but not compute;
    `list_reduce` may not compute either. `5 / 0` is infinity, which is larger than 0.2. The expression sees NaN of the
    data as NULL and times as seconds since 1970, and is evaluated in UTC on every host.
    Columns in `training_only` are known only after the outcome: they never become inputs of the model. Nor does
    `weight`, a column that says how much each row counts: in the loss of training and of early stopping, in every
    metric and in the gate's comparisons, where a row of weight 2 counts as two alike. A row of weight 0 counts nowhere
    in them. A weight is a number, 0 or more; `preprocessing_fn` analyses all rows alike.
    """

    column: str = Field(min_length=1)
    expression: str | None = None
    training_only: tuple[str, ...] = ()
    weight: str | None = Field(None, min_length=1, description="column that says how much a row counts")


class HashSplit(Strict):
    """Split by a hash of the row: the same row always lands in the same split.

    The whole row counts, so that another column moves rows; or `columns` alone, such as the number of an order. They
    stay inputs of the model. A missing value is a value like any other.
    """

    method: Literal["hash"] = "hash"
    train: int = Field(2, ge=1)
    eval: int = Field(1, ge=1)
    columns: tuple[str, ...] = ()


class GroupSplit(Strict):
    """Split by a hash of one column, such as the customer: all rows of a customer are in one split.

    So are they among the rows that training holds back for early stopping. `train` and `eval` are shares of the
    customers. A row without one (null, NaN or empty) is left out, and counted. The column is no input of the model.
    """

    method: Literal["group"]
    column: str = Field(min_length=1)
    train: int = Field(2, ge=1)
    eval: int = Field(1, ge=1)


def _as_text(value: Any) -> Any:
    """A value of YAML as the data spells it: `false` and 0 need no quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | date) else value


class ColumnSplit(Strict):
    """Split by the value of a column: `train` values and `eval` values; a row with another value is left out.

    A value may be written as in the data (`1.0`, `True`) or as in the examples (`1`). The column is no input of the
    model, and not among the examples.
    """

    method: Literal["column"]
    column: str
    train: tuple[Annotated[str, BeforeValidator(_as_text)], ...] = ("train",)
    eval: tuple[Annotated[str, BeforeValidator(_as_text)], ...] = ("eval",)


class TimeSplit(Strict):
    """Split by time: rows at or after `eval_from` are for evaluation; a row without a time is left out.

    The column stays an input of the model, unless `training_only` names it.

    `eval_from` is a moment in ISO 8601, or a number in the column's unit. Moments are compared, in UTC where they have
    no offset: a number is taken for seconds since 1970, and a text read as ISO 8601, or as `format` says in DuckDB's
    terms for `strptime` (`%d/%m/%Y`); then `eval_from` may be written so, too. A text that cannot be read is an error,
    and so are a format without a year and an `eval_from` like 31122024 without a format.
    """

    method: Literal["time"]
    column: str
    eval_from: int | float | str
    format: str | None = None


Split = Annotated[HashSplit | GroupSplit | ColumnSplit | TimeSplit, Field(discriminator="method")]


def needed_columns(label: Label, split: Split) -> list[tuple[str, str]]:
    """Each column without which there are no examples, and the key that names it."""
    named = [(column, "label.training_only") for column in label.training_only]
    if isinstance(split, HashSplit):
        named += [(column, "split.columns") for column in split.columns]
    else:
        named.append((split.column, "split.column"))
    if label.weight:
        named.append((label.weight, "label.weight"))
    if label.expression is None:
        named.append((label.column, "label.column"))
    return named


class Ingestion(Strict):
    r"""How raw rows become examples.

    `max_quarantined` is the share of rows that may fail to parse before the data is refused. `window` is the number of
    newest spans that are read when the data's URI holds `{SPAN}`. `event_time` is the column with a row's time, as of
    which shared features are joined, by default the column of a split by time: a date (its first moment) or a
    timestamp, seconds since 1970, or a text in ISO 8601 or as `event_time_format` says (`%d/%m/%Y %H:%M`); in UTC where
    it has no offset. `ignore` names columns that are not read, such as those of a type that examples cannot hold.
    `missing_values` are the marks that stand for a missing value, such as
    `NA`, in any column of any format. The others concern CSV: `delimiter` separates fields (`"\t"` is a tab), numbers
    have a `decimal` point or comma and perhaps a mark between `thousands`, and with `times: seconds` a column of
    moments in ISO 8601 is read as Parquet's timestamps always are, as whole seconds since 1970; else it is text.
    """

    max_quarantined: float = Field(0.01, ge=0, le=1)
    window: int = Field(1, ge=1)
    event_time: str | None = Field(None, min_length=1)
    event_time_format: str | None = None
    ignore: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ()
    delimiter: str = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'", "_"] | None = None
    times: Literal["text", "seconds"] = "text"

    @model_validator(mode="after")
    def _marks_can_be_told(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"ingestion.thousands and ingestion.decimal are both {self.decimal!r}; give two marks")
        if not re.fullmatch(r"[\t !#-&(-,/:-@^_`|~]", self.delimiter):
            raise ValueError(f"ingestion.delimiter is {self.delimiter!r}; write one mark, such as ';' or \"\\t\"")
        return self


ClassWeight = Annotated[float, Field(gt=0)]


class Training(Strict):
    """How the model is fitted.

    Early stopping watches `held_back`, a share of the training split with the same mix of labels (with a split by
    group, whole groups), never the eval split.

    `class_weights` multiply the loss of training by class, beside `label.weight`: `balanced` lets each class count
    alike, or `{default: 5}` names weights (1 for the others). They concern nothing but the loss of training: not early
    stopping, not the metrics. Probabilities are then those of the weighted classes, not of the data.
    """

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(256, ge=1)
    patience: int = Field(2, ge=0, description="epochs without improvement before training stops; 0 never stops early")
    held_back: float = Field(0.1, gt=0, le=0.5, description="share of the training split for early stopping")
    seed: int = 42
    class_weights: Literal["balanced"] | dict[Annotated[str, BeforeValidator(_as_text)], ClassWeight] | None = None


def _checked_requirement(text: str) -> str:
    """Refuses what no lock can hold."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is no requirement ({str(error).splitlines()[0]}); write name>=1.2") from error
    if wanted.url:
        raise ValueError(f"{text!r} names an address; write name>=1.2, a package of the index")
    return text


OwnMetrics = dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], Better]


class LabelledTask(Strict):
    """The kind of the task, and what it predicts."""

    task: Task
    label: Label
    classes: tuple[str, ...] = Field((), description="label values in the order of the model's outputs")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Label values in output order; `('false', 'true')` for a binary label that is a boolean or 0/1."""
        if self.task == "binary" and not self.classes:
            return ("false", "true")
        return self.classes

    def class_index(self, name: str) -> int | None:
        """The output of a class; None if there is none of this name. Unnamed binary classes are 0 and 1, too."""
        names = ("0", "1") if self.task == "binary" and not self.classes and name in ("0", "1") else self.class_names
        return names.index(name) if name in names else None


class ModuleConfig(LabelledTask):
    """The content of `module.yaml`."""

    contract: Literal[1]
    description: str = ""
    data: str | None = Field(
        None,
        description="default data URI, as snapshot:NAME; a path is relative to the project; without one, sample.py "
        "makes the data",
    )
    split: Split = HashSplit()
    ingestion: Ingestion = Ingestion()
    features: tuple[JoinedView, ...] = Field((), description="shared features that are joined to the rows")
    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: tuple[Threshold, ...] = Field(
        (), description="beside what always holds: better than a constant model, by more than chance"
    )
    metrics: OwnMetrics = Field(
        default_factory=dict, description="the functions of metrics.py, and whether high or low is better: `cost: low`"
    )
    requirements: tuple[Annotated[str, AfterValidator(_checked_requirement)], ...] = Field(
        (), description="what the code imports beyond the image: `lightgbm>=4.6`; locked by `slipway module lock`"
    )
    training: Training = Training()
    monitoring: Monitoring = Monitoring()
    batch_prediction: BatchPrediction = BatchPrediction()
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    search_space: dict[str, Searched] = Field(
        default_factory=dict,
        description="what the tuner searches: hyperparameters, training.epochs, training.batch_size",
    )
    tuning: Tuning | None = Field(None, description="by default that of `Tuning` where there is a search_space")

    @property
    def is_tuned(self) -> bool:
        """Whether its runs have the step tune_model."""
        return bool(self.search_space) or self.tuning is not None

    @property
    def event_time(self) -> tuple[str, str | None] | None:
        """The column with a row's time, and how it is written; None if module.yaml names none."""
        if self.ingestion.event_time:
            return self.ingestion.event_time, self.ingestion.event_time_format
        return (self.split.column, self.split.format) if isinstance(self.split, TimeSplit) else None

    @model_validator(mode="after")
    def _joined_features_fit(self) -> Self:
        if self.features and not self.event_time:
            raise ValueError(
                "features are joined as of a row's time: name its column, `ingestion: {event_time: COLUMN}`"
            )
        taken = {self.label.column.lower(): "is the label"}
        for one in self.features:
            for name in one.names.values():
                if name.lower() in taken:
                    raise ValueError(f"features: {name!r} of {one.view} {taken[name.lower()]}; give it a prefix")
                taken[name.lower()] = f"is joined from {one.view} already"
        return self

    @model_validator(mode="after")
    def _searched_names_are_known(self) -> Self:
        known = [*self.hyperparameters, *(f"training.{name}" for name in TUNED_TRAINING)]
        for name, one in self.search_space.items():
            if name not in known:
                raise ValueError(
                    f"search_space names {name!r}, which needs a default under hyperparameters; known are "
                    f"{', '.join(known)}"
                )
            numbers = [number for number in (one.min, one.max, *one.choices) if number is not None]
            if name.startswith("training.") and (
                one.length or not all(type(number) is int and number > 0 for number in numbers)
            ):
                raise ValueError(f"search_space.{name}: values must be whole numbers from 1 on: {{min: 1, max: 30}}")
        return self

    @model_validator(mode="after")
    def _needed_columns_are_read(self) -> Self:
        sliced = {"slices": sum(self.slices, ()), "thresholds": sum((one.slice for one in self.thresholds), ())}
        for key, columns in sliced.items():
            if isinstance(self.split, ColumnSplit) and self.split.column in columns:
                raise ValueError(
                    f"{key} names {self.split.column!r}, which is split.column and no feature: all rows of a split "
                    "have the same few values there; remove it"
                )
        needed = [(column, key) for key, columns in sliced.items() for column in columns]
        for column, key in [*needed_columns(self.label, self.split), *needed]:
            if column in self.ingestion.ignore:
                raise ValueError(f"ingestion.ignore names {column!r}, which {key} needs; remove one of them")
        return self

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Self:
        split, label = self.split, self.label
        if label.weight == label.column:
            raise ValueError(f"label.weight and label.column are both {label.weight!r}; a weight is another column")
        if self.group == label.column:
            raise ValueError(f"split.column and label.column are both {self.group!r}; a group is another column")
        if isinstance(split, ColumnSplit) and split.column == label.weight:
            raise ValueError(f"label.weight and split.column are both {label.weight!r}; a weight is another column")
        return self

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> Self:
        if self.task == "multiclass" and len(self.classes) < 2:
            raise ValueError("a multiclass module lists its label values under classes, two at least")
        if self.task == "binary" and len(self.classes) not in (0, 2):
            raise ValueError(f"a binary module has two classes or none listed, not {len(self.classes)}")
        if self.task == "regression" and self.classes:
            raise ValueError("a regression module has no classes")
        weights = self.training.class_weights
        if weights and self.task == "regression":
            raise ValueError("training.class_weights is for classes, and a regression module has none; remove it")
        for name in weights if isinstance(weights, dict) else ():
            if self.class_index(name) is None:
                raise ValueError(
                    f"training.class_weights names {name!r}, which is no class; classes are "
                    f"{', '.join(self.class_names)}"
                )
        return self

    @property
    def group(self) -> str:
        """The column whose values stay together; empty without one."""
        return self.split.column if isinstance(self.split, GroupSplit) else ""


def fill_missing(feature: tf.SparseTensor | tf.Tensor, default: float | int | str) -> tf.Tensor:
    """A dense `[batch]` tensor of a single-valued feature, with `default` where the value is missing."""
    import tensorflow as tf

    if isinstance(feature, tf.SparseTensor):
        feature = tf.raw_ops.SparseToDense(
            sparse_indices=feature.indices,
            # A batch in which the value is missing everywhere has no second dimension.
            output_shape=tf.maximum(feature.dense_shape, [0, 1]),
            sparse_values=feature.values,
            default_value=tf.constant(default, feature.dtype),
            validate_indices=False,
        )
    return tf.reshape(feature, [-1])
