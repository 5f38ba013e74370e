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
                       `[batch, 1]` values (regression).
- `schema.pbtxt`       optional, a curated `tensorflow_metadata` schema; it wins over the inferred one.
- `sample.py`          optional, `write_sample(path, rows, seed)`: synthetic rows as CSV, for a first run and for tests.

Files of a module import each other relatively (`from .preprocessing import …`). Of Slipway they import this file,
`slipway.linear_steps` (numbers as a network learns them best) and `slipway.ensemble` (several networks as one model).
"""

from __future__ import annotations

import math
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    import tensorflow as tf

CONTRACT = 1

Task = Literal["binary", "multiclass", "regression"]
MetricName = Literal[
    "auc", "auc_pr", "log_loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1",
    "calibration", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r_squared",
    "mean_prediction", "mean_label", "example_count",
]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Label(_Strict):
    """What the model predicts.

    `column` alone names a column of the data. With `expression` (SQL over the row's columns, evaluated by DuckDB when
    the examples are ingested) the column is computed: `tips > 0.2 * fare`. A NULL label is a missing label. So is one
    in whose expression NaN occurs: `tips / fare > 0.2` where both are 0, `sqrt(x) > 1` where x is negative, whatever
    OR, coalesce or isnan would make of it. What is not evaluated does not count: `CASE WHEN fare > 0 THEN tips / fare
    > 0.2 ELSE false END` gives every row a label. A subquery with rows of its own may look values up, but not compute;
    `list_reduce` may not compute either. `5 / 0` is infinity, which is larger than 0.2. The expression sees NaN of the
    data as NULL and times as seconds since 1970, and is evaluated in UTC on every host.
    Columns in `training_only` are known only after the outcome: they never become inputs of the model.
    """

    column: str = Field(min_length=1)
    expression: str | None = None
    training_only: tuple[str, ...] = ()


class HashSplit(_Strict):
    """Split by a hash of the whole row: the same row always lands in the same split."""

    method: Literal["hash"] = "hash"
    train: int = Field(2, ge=1)
    eval: int = Field(1, ge=1)


def _as_text(value: Any) -> Any:
    """A value of YAML as the data spells it: `false` and 0 need no quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | date) else value


class ColumnSplit(_Strict):
    """Split by the value of a column: `train` values and `eval` values; a row with another value is left out.

    A value may be written as in the data (`1.0`, `True`) or as in the examples (`1`).
    """

    method: Literal["column"]
    column: str
    train: tuple[Annotated[str, BeforeValidator(_as_text)], ...] = ("train",)
    eval: tuple[Annotated[str, BeforeValidator(_as_text)], ...] = ("eval",)


class TimeSplit(_Strict):
    """Split by time: rows at or after `eval_from` are for evaluation; a row without a time is left out.

    `eval_from` is a moment in ISO 8601, or a number in the column's unit. Moments are compared, in UTC where they have
    no offset: a number is taken for seconds since 1970, and a text read as ISO 8601, or as `format` says in DuckDB's
    terms for `strptime` (`%d/%m/%Y`); then `eval_from` may be written so, too. A text that cannot be read is an error,
    and so are a format without a year and an `eval_from` like 31122024 without a format.
    """

    method: Literal["time"]
    column: str
    eval_from: int | float | str
    format: str | None = None


Split = Annotated[HashSplit | ColumnSplit | TimeSplit, Field(discriminator="method")]


class Ingestion(_Strict):
    r"""How raw rows become examples.

    `max_quarantined` is the share of rows that may fail to parse before the data is refused. `window` is the number of
    newest spans that are read when the data's URI holds `{SPAN}`. `ignore` names columns that are not read, such as
    those of a type that examples cannot hold. `missing_values` are the marks that stand for a missing value, such as
    `NA`, in any column of any format. The others concern CSV: `delimiter` separates fields (`"\t"` is a tab), numbers
    have a `decimal` point or comma and perhaps a mark between `thousands`, and with `times: seconds` a column of
    moments in ISO 8601 is read as Parquet's timestamps always are, as whole seconds since 1970; else it is text.
    """

    max_quarantined: float = Field(0.01, ge=0, le=1)
    window: int = Field(1, ge=1)
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


class Training(_Strict):
    """How the model is fitted.

    Early stopping watches `held_back`, a share of the training split with the same mix of labels, never the eval split.
    """

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(256, ge=1)
    patience: int = Field(2, ge=0, description="epochs without improvement before training stops; 0 never stops early")
    held_back: float = Field(0.1, gt=0, le=0.5, description="share of the training split for early stopping")
    seed: int = 42


class Threshold(_Strict):
    """One condition on a metric.

    `min` and `max` are absolute. `max_drop` bounds how much worse than the production model the candidate may be, in
    the direction that is worse for this metric; and than the best of the last five that served. Refused is a drop that
    is larger by more than chance, or that may be twice as large for all that the rows tell (one-sided 95 % bounds);
    with `max_drop: 0` any drop that is measured. Without `slice` a threshold holds overall; with `slice` it holds on
    every value of these columns (a cross when several) that has at least `min_examples` examples.

    `decision` moves the 0.5 of accuracy, balanced_accuracy, precision, recall and f1. `at_precision` takes the recall
    at the lowest score from which on the precision over all rows is at least so; on slices the same score holds.
    `of_class` takes a binary metric of one class of a multiclass module.
    """

    metric: MetricName
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    decision: float | None = Field(None, gt=0, lt=1, description="predicted positive is a probability above this")
    at_precision: float | None = Field(None, gt=0, le=1, description="of recall: at the lowest score that reaches it")
    of_class: str | None = Field(None, description="multiclass: this class against the rest")
    slice: tuple[str, ...] = ()
    min_examples: int = Field(100, ge=1)

    @property
    def name(self) -> str:
        """`recall at decision 0.3`, `f1 of class virginica`."""
        of = f" of class {self.of_class}" if self.of_class is not None else ""
        decided = f" at decision {self.decision}" if self.decision is not None else ""
        precise = f" at precision {self.at_precision}" if self.at_precision is not None else ""
        return f"{self.metric}{of}{decided}{precise}"

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None and self.max_drop is None:
            raise ValueError(f"threshold on {self.metric} has no bound: give min, max or max_drop")
        return self


def _checked_hyperparameter(value: Any) -> Any:
    """Refuses values that JSON lacks: hyperparameters travel as JSON text."""
    problem = ""
    if value is None:
        problem = "null is not allowed; leave the key out"
    elif isinstance(value, float) and not math.isfinite(value):
        problem = "a hyperparameter must be finite"
    elif isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        problem = "keys must be text: put them in quotes"
    elif not isinstance(value, str | int | float | list | dict):
        problem = f"JSON has no {type(value).__name__}: write it as text, in quotes"
    if problem:
        raise PydanticCustomError("hyperparameter", "{problem}", {"problem": problem})
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _checked_hyperparameter(item)
    return value


Hyperparameters = dict[str, Annotated[Any, AfterValidator(_checked_hyperparameter)]]


class LabelledTask(_Strict):
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


class ModuleConfig(LabelledTask):
    """The content of `module.yaml`."""

    contract: Literal[1]
    description: str = ""
    data: str | None = Field(None, description="default data URI; without one, sample.py makes the data")
    split: Split = HashSplit()
    ingestion: Ingestion = Ingestion()
    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: tuple[Threshold, ...] = Field(
        (), description="beside what always holds: better than a constant model, by more than chance"
    )
    training: Training = Training()
    hyperparameters: Hyperparameters = Field(default_factory=dict)

    @model_validator(mode="after")
    def _needed_columns_are_read(self) -> Self:
        needed = {"label.training_only": self.label.training_only, "slices": sum(self.slices, ())}
        needed["label.column"] = () if self.label.expression else (self.label.column,)
        needed["split.column"] = () if isinstance(self.split, HashSplit) else (self.split.column,)
        for key, columns in needed.items():
            for column in set(columns) & set(self.ingestion.ignore):
                raise ValueError(f"ingestion.ignore names {column!r}, which {key} needs; remove one of them")
        return self

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> Self:
        if self.task == "multiclass" and len(self.classes) < 2:
            raise ValueError("a multiclass module lists its label values under classes, two at least")
        if self.task == "binary" and len(self.classes) not in (0, 2):
            raise ValueError(f"a binary module has two classes or none listed, not {len(self.classes)}")
        if self.task == "regression" and self.classes:
            raise ValueError("a regression module has no classes")
        return self


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
