"""Validates columns against the text of a schema."""

from pathlib import Path
from typing import Any

from slipway.data.schema import parse_schema
from slipway.data.statistics.compute import compute_statistics
from slipway.data.statistics.io import write_statistics
from slipway.data.validation.report import Anomaly, Validation
from slipway.data.validation.validate import validate_examples
from tests.example_artifacts import write_examples

ENVIRONMENTS = 'default_environment: "TRAINING" default_environment: "SERVING"'
Columns = dict[str, Any]


def validate(
    folder: Path, schema: str, train: Columns, evaluation: Columns | None = None, previous: Columns | None = None
) -> Validation:
    """What validation says of these columns; `schema` is the text of the features."""
    write_examples(folder / "now", train, evaluation)
    uri = ""
    if previous is not None:
        write_examples(folder / "before", previous)
        uri = str(folder / "statistics")
        write_statistics(compute_statistics(folder / "before"), uri)
    parsed = parse_schema(f"{schema} {ENVIRONMENTS}")
    return validate_examples(folder / "now", compute_statistics(folder / "now"), parsed, uri)


def only(validation: Validation, type_: str, split: str = "train") -> Anomaly:
    """The one anomaly of this type in the split; there is no other type."""
    assert {anomaly.type for anomaly in validation.anomalies} == {type_}
    (found,) = [anomaly for anomaly in validation.anomalies if anomaly.split == split]
    return found
