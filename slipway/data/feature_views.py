"""Shared features: the views in `features/<entity>/<view>.sql`.

A view is a SELECT over its data, which it calls `data`; the comment lines above it are YAML:

    -- description: How many trips each company made on a day
    -- owner: taxi-data@example.com
    -- keys: [company]
    -- time: known_at
    -- max_age: 7d
    -- data: data/trips.csv
    SELECT company, date_trunc('day', at) + INTERVAL 1 DAY AS known_at, count(*) AS trips_1d FROM data GROUP BY ALL
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from slipway.errors import ConfigError
from slipway.module_api import Ingestion
from slipway.module_api.base import Strict
from slipway.module_api.features import VIEW_NAME, MaxAge
from slipway.strict_yaml import did_you_mean, parse_yaml

FOLDER = "features"
_FILE = re.compile(rf"{VIEW_NAME}\.sql")
Column = Annotated[str, Field(min_length=1)]


class Header(Strict):
    """The comment lines of a view.

    `keys` are the columns that say whom or what a row is about, and `time` the one that says when its values were
    known; a row is unique by both. All other columns of the SELECT may be joined. A value that is older than `max_age`
    counts as missing, unless a module says otherwise. `data` is a data URI, a path is relative to the project;
    `ingestion` says how its files are written, as in `module.yaml`. `columns` may describe columns.
    """

    description: str
    owner: str
    keys: tuple[Column, ...] = Field(min_length=1)
    time: Column
    data: str = Field(min_length=1)
    max_age: MaxAge | None = None
    ingestion: Ingestion = Ingestion()
    columns: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """A view: its name, `<entity>/<view>`, its header and its SELECT."""

    name: str
    header: Header
    sql: str


def read_views(project: Path) -> Iterator[View]:
    """All views of a project, by name; raises as `read_view` does."""
    root = project / FOLDER
    for path in sorted(root.rglob("*.sql")):
        name = path.relative_to(root).as_posix()
        if not _FILE.fullmatch(name):
            raise ConfigError(f"{path}: a view is {root}/<entity>/<view>.sql, in lower-case letters, digits and _")
        yield read_view(project, name.removesuffix(".sql"))


def read_view(project: Path, name: str) -> View:
    """A view by its name.

    Raises:
        ConfigError: there is none, or its header is wrong; the message has the line.
    """
    if not _FILE.fullmatch(f"{name}.sql"):
        raise ConfigError(f"{name!r} is no name of a shared feature: it is <entity>/<view>, as driver/daily")
    path = project / FOLDER / f"{name}.sql"
    if not path.is_file():
        known = [found.relative_to(project / FOLDER).as_posix()[:-4] for found in (project / FOLDER).rglob("*.sql")]
        raise ConfigError(f"there is no shared feature {name}: {path} is missing{did_you_mean(name, known)}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    lines = text.splitlines()
    above = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    header = "\n".join(re.sub("^-- ?", "", line) for line in lines[:above])
    parsed = parse_yaml(header, path).parse(Header)
    sql = "\n".join(lines[above:]).strip().rstrip(";").strip()
    if not sql:
        raise ConfigError(f"{path}: there is no SELECT below its comment lines")
    for column in (*parsed.keys, parsed.time):
        if [*parsed.keys, parsed.time].count(column) > 1:
            raise ConfigError(f"{path}: {column!r} is named twice in keys and time")
    return View(name, parsed, sql)
