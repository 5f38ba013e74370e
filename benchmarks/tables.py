"""What `slipway module new` makes of public tables, beside gradient boosted trees and a linear model of scikit-learn.

All learn from the columns and the rows that a run of the untouched module learned from, and are judged on the rows that
it was judged on. The trees are `HistGradientBoosting*` with defaults, categories marked; the linear model is
`LogisticRegression` or `Ridge` on scaled numbers and indicators of categories.
"""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.measure import measure
from slipway.data.examples.dataset import SPLITS, open_split

SLIPWAY = str(Path(sys.executable).parent / "slipway")
HEADER = ("table", "metric", "slipway", "trees", "linear", "better than trees by", "run s")
SPLIT = "slipway_split"

Scores = dict[str, float]


@dataclass(frozen=True)
class Table:
    """A file, and how often it is tried: with other seeds on one split, or on other splits."""

    name: str
    file: str
    label: str
    over: Literal["seeds", "splits"]
    tries: int


TABLES = (
    Table("adult", "tables/adult_10k.csv", "income", "seeds", 6),
    Table("telco", "tables/telco_churn.csv", "Churn", "seeds", 6),
    Table("digits", "tables/digits.csv", "target", "seeds", 6),
    Table("loan", "loan/loans.csv", "Loan_Status", "splits", 10),
    Table("penguins", "tables/penguins.csv", "species", "splits", 10),
    Table("mpg", "tables/mpg.csv", "mpg", "splits", 10),
)


def compare_tables(work: Path, data: Path) -> Iterator[tuple[str, ...]]:
    """A row for each table and metric; of the difference, the mean and its standard error over the tries."""
    for table in TABLES:
        tries = list(_try(table, work / table.name, data / table.file))
        for metric in tries[0][0]:
            ours, trees, linear = ([scores[metric] for scores in one] for one in list(zip(*tries, strict=True))[:3])
            sign = -1 if metric in ("log_loss", "root_mean_squared_error") else 1
            better = [sign * (one - other) for one, other in zip(ours, trees, strict=True)]
            error = statistics.stdev(better) / math.sqrt(len(better))
            seconds = statistics.mean(one[3]["seconds"] for one in tries)
            means = (f"{statistics.mean(values):.4f}" for values in (ours, trees, linear))
            yield table.name, metric, *means, f"{statistics.mean(better):+.4f} ± {error:.4f}", f"{seconds:.0f}"


def _try(table: Table, work: Path, data: Path) -> Iterator[tuple[Scores, Scores, Scores, Scores]]:
    """Scores of Slipway, the trees and the linear model, and the seconds of the run."""
    environment = {"SLIPWAY_HOME": str(work / "home"), "SLIPWAY_MODULES": str(work / "modules")}
    new = ["module", "new", table.name, "--data", str(data), "--label", table.label, "--json"]
    made = json.loads(measure([SLIPWAY, *new], environment).output)
    if table.over == "splits":
        config = work / "modules" / table.name / "module.yaml"
        text = config.read_text(encoding="utf-8")
        split = f"split: {{method: column, column: {SPLIT}}}"
        config.write_text(re.sub("^split: .*$", split, text, flags=re.MULTILINE), encoding="utf-8")
    for number in range(1, table.tries + 1):
        arguments = ["run", table.name]
        if table.over == "seeds":
            arguments += ["--set", f"training.seed={number}"]
        else:
            arguments += ["--data", str(_with_split(data, work / f"{table.name}-{number}.csv", number))]
        cost = measure([SLIPWAY, *arguments], environment)
        run = json.loads(measure([SLIPWAY, "runs", "show", "--json"], environment).output)
        examples = max((work / "home" / "artifacts").glob("*/ingest-examples/examples"))
        train, evaluated = (_read(examples, split) for split in SPLITS)
        unused = [table.label, SPLIT, *made["left_out"]]
        trees, linear = (
            _score(model, train, evaluated, table.label, unused, made["task"]) for model in (_trees, _linear)
        )
        yield {metric: run["metrics"][metric] for metric in trees}, trees, linear, {"seconds": cost.wall_seconds}


def _with_split(source: Path, target: Path, seed: int) -> Path:
    """The table with a column that says which third of the rows, by chance, is for evaluation."""
    with source.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    evaluated = set(np.random.default_rng(seed).permutation(len(rows))[: len(rows) // 3].tolist())
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, SPLIT])
        writer.writerows([*row, "eval" if index in evaluated else "train"] for index, row in enumerate(rows))
    return target


def _read(examples: Path, split: Any) -> pd.DataFrame:
    """Examples, with texts in place of bytes."""
    frame = open_split(str(examples), split).to_table().to_pandas()
    for name in frame.select_dtypes(object):
        frame[name] = frame[name].map(lambda value: value.decode() if isinstance(value, bytes) else value)
    return frame


def _score(
    fit: Callable[..., Any],
    train: pd.DataFrame,
    evaluated: pd.DataFrame,
    label: str,
    unused: list[str],
    task: str,
) -> Scores:
    columns = [name for name in train.columns if name not in unused]
    answers = fit(train[columns], train[label], evaluated[columns], task)
    truth = evaluated[label]
    if task == "regression":
        return {
            "r_squared": r2_score(truth, answers),
            "root_mean_squared_error": root_mean_squared_error(truth, answers),
        }
    classes = sorted(train[label].unique())
    guessed = np.asarray(classes)[answers.argmax(axis=1)]
    scores = {"accuracy": accuracy_score(truth, guessed), "log_loss": log_loss(truth, answers, labels=classes)}
    return {"auc": roc_auc_score(truth, answers[:, 1]), **scores} if task == "binary" else scores


def _trees(train: pd.DataFrame, labels: pd.Series[Any], evaluated: pd.DataFrame, task: str) -> Any:
    kinds = {name: pd.CategoricalDtype(sorted(train[name].dropna().unique())) for name in train.select_dtypes(object)}
    options: dict[str, Any] = {"categorical_features": "from_dtype", "random_state": 0}
    if task == "regression":
        return (
            HistGradientBoostingRegressor(**options).fit(train.astype(kinds), labels).predict(evaluated.astype(kinds))
        )
    model = HistGradientBoostingClassifier(**options).fit(train.astype(kinds), labels)
    return model.predict_proba(evaluated.astype(kinds))


def _linear(train: pd.DataFrame, labels: pd.Series[Any], evaluated: pd.DataFrame, task: str) -> Any:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_include=object)),
    )
    if task == "regression":
        return make_pipeline(columns, Ridge()).fit(train, labels).predict(evaluated)
    return make_pipeline(columns, LogisticRegression(max_iter=5000)).fit(train, labels).predict_proba(evaluated)
