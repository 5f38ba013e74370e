"""What a module joins: the shared features that module.yaml names, as the steps get them."""

from __future__ import annotations

from pathlib import Path

from slipway.data.examples.source import Join, parts_of
from slipway.data.feature_views import View, read_view
from slipway.errors import ConfigError
from slipway.module_api import JoinedView, ModuleConfig
from slipway.module_api.features import seconds_of


def joins_of(config: ModuleConfig, project: Path) -> list[Join]:
    """What a module joins.

    Raises:
        ConfigError: it does not fit the views.
    """
    joins = []
    for index, one in enumerate(config.features):
        where, view = f"features[{index}] of module.yaml", read_view(project, one.view)
        its = view.header
        for key in one.on:
            if key not in its.keys:
                raise ConfigError(f"{where}: on names {key!r}; the keys of {one.view} are {', '.join(its.keys)}")
        for column in one.columns:
            if column in (*its.keys, its.time):
                raise ConfigError(f"{where}: {column!r} is a key or the time of {one.view}; name other columns")
        joins.append(join_of(view, project, one, config.event_time))
    return joins


def join_of(view: View, project: Path, asked: JoinedView | None, event_time: tuple[str, str | None] | None) -> Join:
    """What is joined of a view, or the view itself where nothing is."""
    its = view.header
    age = (asked and asked.max_age) or its.max_age
    column, pattern = event_time or ("", None)
    return Join(
        view=view.name,
        sql=view.sql,
        keys={key: asked.on.get(key, key) if asked else key for key in its.keys},
        time=its.time,
        columns=asked.names if asked else {},
        max_age=seconds_of(age) if age else None,
        ingestion=its.ingestion,
        data=",".join(parts_of(its.data, project)),
        row_time=column,
        row_time_format=pattern,
    )
