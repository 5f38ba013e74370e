"""Columns that are gone, or of another type, since the run before or since production's model was trained."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from slipway.data.schema import parse_schema
from slipway.data.validation.earlier import compare_inputs
from tests.slipway.data.validation.validated import ENVIRONMENTS, only, validate

X, Y = 'feature { name: "x" type: INT }', 'feature { name: "y" type: INT not_in_environment: "SERVING" }'


def test_a_column_that_the_run_before_had_is_told_as_gone(tmp_path: Path) -> None:
    schema = 'feature { name: "sizes" type: INT } feature { name: "y" type: INT }'
    found = only(
        validate(tmp_path, schema, {"sizes": [1], "y": [0]}, previous={"size": [1], "y": [1]}), "SCHEMA_MISSING_COLUMN"
    )
    assert (found.feature, found.severity) == ("size", "WARNING")
    assert "The run before had this column" in found.description
    assert "renamed to 'sizes'?" in found.description


def test_a_column_that_the_schema_misses_is_told_once(tmp_path: Path) -> None:
    schema = f'feature {{ name: "size" type: INT presence {{ min_count: 1 }} }} {Y}'
    previous = {"size": [1], "y": [1]}
    found = only(validate(tmp_path, schema, {"y": [0]}, previous=previous), "SCHEMA_MISSING_COLUMN")
    assert (found.feature, found.severity) == ("size", "ERROR")


@pytest.mark.parametrize(
    ("now", "kind", "before", "said"),
    [
        (["a"], "BYTES", [1.5], ("text (BYTES)", "numbers (FLOAT)", "`type: FLOAT`")),
        ([1.5], "FLOAT", [1], ("numbers (FLOAT)", "whole numbers (INT)", "`type: INT`")),
    ],
)
def test_a_type_that_changed_since_the_run_before_is_told(
    tmp_path: Path, now: list[Any], kind: str, before: list[Any], said: tuple[str, str, str]
) -> None:
    found = only(
        validate(tmp_path, f'feature {{ name: "x" type: {kind} }}', {"x": now}, previous={"x": before}),
        "UNEXPECTED_DATA_TYPE",
    )
    assert (found.feature, found.severity) == ("x", "WARNING")
    assert [one for one in said[:2] if one not in found.description] == []
    assert said[2] in found.fix


def test_a_column_that_was_empty_in_one_of_the_runs_has_no_other_type(tmp_path: Path) -> None:
    before = {"x": pa.array([None, None], pa.string())}
    assert validate(tmp_path, X, {"x": [1, 2]}, previous=before).anomalies == []


@pytest.mark.parametrize(
    ("now", "facts"),
    [
        (f"{X} {Y}", []),
        (f'feature {{ name: "x" type: FLOAT }} {Y}', ["holds numbers (FLOAT)", "whole numbers (INT)", "`type: INT`"]),
        (f'feature {{ name: "xs" type: INT }} {Y}', ["no such column", "renamed to 'xs'?"]),
        (f'feature {{ name: "x" type: INT not_in_environment: "SERVING" }} {Y}', ["no input of the model any more"]),
    ],
)
def test_what_production_cannot_take_is_named_with_both_types_and_the_way_out(now: str, facts: list[str]) -> None:
    before = parse_schema(f"{X} {Y} {ENVIRONMENTS}")
    found = list(compare_inputs(parse_schema(f"{now} {ENVIRONMENTS}"), before, 7))
    assert [(one.feature, one.severity) for one in found] == ([("x", "ERROR")] if facts else [])
    for one in found:
        told = f"{one.description} {one.fix}"
        assert [fact for fact in [*facts, "version 7", "max_drop"] if fact not in told] == []
