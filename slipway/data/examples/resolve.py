"""Resolves what a run reads: its data, and that of the shared features that are joined to them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.data.examples.bigquery import is_bigquery, locate_in_bigquery
from slipway.data.examples.bigquery_join import view_query
from slipway.data.examples.source import Join, JoinedSource, Source, digest_of, locate, parts_of
from slipway.data.feature_views import View, read_view
from slipway.errors import ConfigError
from slipway.module_api import JoinedView, ModuleConfig
from slipway.module_api.features import seconds_of

ALL_SPANS = sys.maxsize


def resolve(data_uri: str, window: int, joins: Sequence[Join] = ()) -> Source:
    """The source behind a data URI; with features its digest follows their SQL and data, too.

    Raises:
        DataError: nothing is there, or it is not of one known format.
    """
    source = locate_in_bigquery(data_uri) if is_bigquery(data_uri) else locate(data_uri, window)
    if not joins:
        return source
    joined = [resolve_join(join) for join in joins]
    digests = [part for one in joined for part in (one.join.model_dump_json(exclude={"data"}), one.source.digest)]
    return source.model_copy(update={"features": joined, "digest": digest_of(source.digest, *digests)})


def resolve_join(join: Join) -> JoinedSource:
    """A view with its data; of these all spans are read."""
    given_by = f"data in features/{join.view}.sql"
    if is_bigquery(join.data):
        source = locate_in_bigquery(given_by, query=view_query(join))
        return JoinedSource(join=join.model_copy(update={"sql": "SELECT * FROM data"}), source=source)
    return JoinedSource(join=join, source=locate(join.data, ALL_SPANS, given_by))


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
