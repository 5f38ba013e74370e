"""Columns that are gone, or of another type, since the run before or since the model in production was trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import schema_pb2

from slipway.data.schema import model_inputs
from slipway.data.statistics.describe import common_stats, feature_name
from slipway.data.validation.features import type_name
from slipway.data.validation.report import Anomaly

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

_WORDS = {"BYTES": "text (BYTES)", "INT": "whole numbers (INT)", "FLOAT": "numbers (FLOAT)"}


def compare_columns(
    train: statistics_pb2.DatasetFeatureStatistics, before: statistics_pb2.DatasetFeatureStatistics
) -> Iterator[Anomaly]:
    """Warnings, for schema and module may allow it: what the run before had, and how."""
    now, had = ({feature_name(one): one for one in each.features} for each in (train, before))
    new = [name for name in now if name not in had]
    rows = int(train.num_examples)
    for name, stats in had.items():
        if name not in now:
            yield Anomaly(
                feature=name, split="train", severity="WARNING", type="SCHEMA_MISSING_COLUMN", short="Column gone",
                description=f"The run before had this column, and the data does not.{renamed(name, new)}",
                of_rows=rows, fix="bring it back, or remove it from the module where the module reads it",
            )  # fmt: skip
            continue
        kind, old = type_name(now[name]), type_name(stats)
        if kind != old and common_stats(now[name]).num_non_missing and common_stats(stats).num_non_missing:
            yield Anomaly(
                feature=name, split="train", severity="WARNING", type="UNEXPECTED_DATA_TYPE", short="Type changed",
                description=f"The column holds {_WORDS[kind]}; in the run before it held {_WORDS[old]}.",
                of_rows=rows, fix=_keep(name, old),
            )  # fmt: skip


def compare_inputs(schema: schema_pb2.Schema, production: schema_pb2.Schema, version: int) -> Iterator[Anomaly]:
    """Errors: what keeps the model in production from predicting the rows of this run."""
    known = {feature.name: feature for feature in schema.feature}
    inputs = {feature.name for feature in model_inputs(schema)}
    taken = model_inputs(production)
    new = inputs - {feature.name for feature in taken}
    compared = f"The model in production, version {version}, with which `max_drop` compares, takes it as"
    without = "leave `max_drop` out of thresholds for one run, since production cannot predict these rows"
    for feature in taken:
        name, old = feature.name, schema_pb2.FeatureType.Name(feature.type)
        if name not in known:
            text, fix = f"The data has no such column.{renamed(name, new)}", "bring the column back"
        elif name not in inputs:
            text, fix = "The column is no input of the model any more.", "make it one again"
        elif known[name].type != feature.type:
            kind = schema_pb2.FeatureType.Name(known[name].type)
            text, fix = f"The column holds {_WORDS.get(kind, kind)}.", _keep(name, old)
        else:
            continue
        yield Anomaly(
            feature=name, split="", severity="ERROR", short="Unlike production", of_rows=0,
            type="UNEXPECTED_DATA_TYPE" if name in known else "SCHEMA_MISSING_COLUMN",
            description=f"{text} {compared} {_WORDS.get(old, old)}.",
            fix=f"{fix}; or, if the change is right, {without}",
        )  # fmt: skip


def renamed(name: str, new: Iterable[str]) -> str:
    """A question after a blank, where one of the new columns has a similar name."""
    similar = difflib.get_close_matches(name, list(new), n=1)
    return f" Was it renamed to {similar[0]!r}?" if similar else ""


def _keep(name: str, kind: str) -> str:
    return (
        f"correct the data, or keep the type: give the feature {name!r} `type: {kind}` in schema.pbtxt, which "
        "`slipway schema infer --data FILE` writes"
    )
