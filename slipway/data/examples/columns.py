"""The columns that module.yaml names, compared with those of the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from slipway.data.database import connect, identifier
from slipway.module_api import ColumnSplit, Ingestion, ModuleConfig, Split, needed_columns
from slipway.strict_yaml import did_you_mean

if TYPE_CHECKING:
    import duckdb

_NOT_FOUND = re.compile(r'Referenced column "([^"]+)" not found')


def taken_columns(split: Split, ingestion: Ingestion) -> dict[str, str]:
    """The columns of the data that become no column of the examples, and why."""
    taken = dict.fromkeys(ingestion.ignore, "ingestion.ignore of module.yaml leaves it out")
    if isinstance(split, ColumnSplit):
        taken[split.column] = "the split took it: it is split.column of module.yaml, and no feature"
    return taken


def no_such_column(column: str, columns: Iterable[str], source: str, taken: Mapping[str, str]) -> str:
    """Why a column cannot be had: what took it, or the nearest of those that there are."""
    if column in taken:
        return taken[column]
    names = list(columns)
    return f"{source} has no such column{did_you_mean(column, names)}; its columns are: {', '.join(names)}"


def collides(column: str, view: str, source: str) -> str:
    """That a shared feature has the name of a column of the data."""
    return (
        f"{view} brings a column {column!r}, and {source} has one already: give the view a prefix in features of "
        "module.yaml, or leave the data's own out with ingestion.ignore"
    )


def missing_column(error: duckdb.Error) -> str | None:
    """The column that DuckDB did not find; None if it says something else."""
    found = _NOT_FOUND.search(str(error))
    return found[1] if found else None


def check_columns(config: ModuleConfig, names: list[str], source: str) -> list[str]:
    """What is wrong with the columns that module.yaml names, where the data has these."""
    taken = {name: why for name, why in taken_columns(config.split, config.ingestion).items() if name in names}
    own = [name for name in names if name not in config.ingestion.ignore]
    joined = {name: one.view for one in config.features for name in one.names.values()}
    read = [*own, *joined]
    examples = list(dict.fromkeys([*(name for name in read if name not in taken), config.label.column]))
    wanted = [(column, "ingestion.ignore", names) for column in config.ingestion.ignore]
    wanted += [(column, key, read) for column, key in needed_columns(config.label, config.split)]
    wanted += [(column, "slices", examples) for columns in config.slices for column in columns]
    wanted += [(column, "thresholds", examples) for one in config.thresholds for column in one.slice]
    if config.label.expression and (unknown := _unknown_in(config.label.expression, read)):
        wanted.append((unknown, "label.expression", read))
    wanted += [(column, "features: on", own) for one in config.features for column in one.on.values()]
    if config.ingestion.event_time:
        wanted.append((config.ingestion.event_time, "ingestion.event_time", own))
    problems = [
        f"{key} of module.yaml names {column!r}, but {no_such_column(column, there, source, taken)}"
        for column, key, there in wanted
        if column not in there
    ]
    problems += [collides(name, view, source) for name, view in joined.items() if name in own]
    return list(dict.fromkeys(problems))


def _unknown_in(expression: str, columns: list[str]) -> str | None:
    """A column that an expression needs and that is not there; without types, other errors mean nothing."""
    import duckdb

    listed = ", ".join(f"NULL AS {identifier(column)}" for column in columns)
    with TemporaryDirectory() as spill, connect(spill, memory_limit="100MB", threads=1) as connection:
        try:
            connection.execute(f"DESCRIBE SELECT (\n{expression}\n) FROM (SELECT {listed})")  # noqa: S608
        except duckdb.Error as error:
            return missing_column(error)
    return None
