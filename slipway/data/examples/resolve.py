"""Resolves what a run reads: its data, and that of the shared features that are joined to them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.data.examples.bigquery import is_bigquery, locate_in_bigquery
from slipway.data.examples.source import Join, JoinedSource, Source, digest_of, locate, parts_of
from slipway.data.feature_views import read_view
from slipway.errors import ConfigError, DataError
from slipway.module_api import ModuleConfig
from slipway.module_api.features import seconds_of

ALL_SPANS = sys.maxsize


def resolve(data_uri: str, window: int, joins: Sequence[Join] = ()) -> Source:
    """The source behind a data URI; with features its digest follows their SQL and data, too.

    Of a view's data all spans are read.

    Raises:
        DataError: nothing is there, or it is not of one known format.
    """
    source = locate_in_bigquery(data_uri) if is_bigquery(data_uri) else locate(data_uri, window)
    if not joins:
        return source
    joined = [_joined(join) for join in joins]
    digests = [part for one in joined for part in (one.join.model_dump_json(exclude={"data"}), one.source.digest)]
    return source.model_copy(update={"features": joined, "digest": digest_of(source.digest, *digests)})


def _joined(join: Join) -> JoinedSource:
    given_by = f"data in features/{join.view}.sql"
    if is_bigquery(join.data):
        raise DataError(f"{given_by} is {join.data}")
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
        age = one.max_age or its.max_age
        assert config.event_time
        joins.append(
            Join(
                view=one.view,
                sql=view.sql,
                keys={key: one.on.get(key, key) for key in its.keys},
                time=its.time,
                columns=one.names,
                max_age=seconds_of(age) if age else None,
                ingestion=its.ingestion,
                data=",".join(parts_of(its.data, project)),
                row_time=config.event_time[0],
                row_time_format=config.event_time[1],
            )
        )
    return joins
