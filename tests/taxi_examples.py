"""The real taxi trips as an examples artifact: every third trip to eval."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest

from tests.example_artifacts import write_examples

LABEL: dict[str, object] = {"column": "big_tip", "expression": "tips > 0.2 * fare", "training_only": ["tips"]}
SCHEMA = Path(__file__).parent.parent / "modules" / "taxi" / "schema.pbtxt"
_FLOATS = ("fare", "trip_miles", "tips")


def read_trips() -> pa.Table:
    """The trips with their label; the test is skipped where there are none."""
    folder = os.environ.get("SLIPWAY_REAL_DATA")
    if not folder:
        pytest.skip("SLIPWAY_REAL_DATA is not set: the folder that holds chicago_taxi/trips.csv")
    types = dict.fromkeys(_FLOATS, pa.float64()) | {"pickup_census_tract": pa.int64()}
    options = pa_csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    table = pa_csv.read_csv(Path(folder) / "chicago_taxi" / "trips.csv", convert_options=options)
    big_tip = pc.greater(table["tips"], pc.multiply(table["fare"], 0.2)).cast(pa.int64())
    return table.append_column("big_tip", big_tip)


def write_taxi_examples(folder: Path, trips: pa.Table | None = None) -> str:
    """The artifact of these trips, of all of them by default."""
    table = read_trips() if trips is None else trips
    is_eval = pa.array([index % 3 == 2 for index in range(table.num_rows)])
    train, evaluation = table.filter(pc.invert(is_eval)), table.filter(is_eval)
    return write_examples(
        folder,
        {name: train[name] for name in train.column_names},
        {name: evaluation[name] for name in evaluation.column_names},
    )
