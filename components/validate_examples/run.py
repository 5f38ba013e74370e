"""Stops bad data before training."""

from __future__ import annotations

import logging

from slipway.data.schema import read_schema
from slipway.data.statistics.io import read_statistics
from slipway.data.validation.anomalies import to_anomalies, write_anomalies
from slipway.data.validation.page import render_validation
from slipway.data.validation.report import describe_anomaly, refusal, write_validation
from slipway.data.validation.validate import validate_examples
from slipway.errors import AnomalyError
from slipway.stores import storage

log = logging.getLogger(__name__)


def validate(
    examples_path: str,
    statistics_path: str,
    schema_path: str,
    previous_statistics: str,
    anomalies_path: str,
    page_path: str,
) -> None:
    """Writes `anomalies.pbtxt`, `validation.json` and a page, then fails if there is an error among the findings.

    Raises:
        AnomalyError: the examples break their schema, or drifted too far.
    """
    schema = read_schema(schema_path)
    statistics = read_statistics(statistics_path)
    validation = validate_examples(examples_path, statistics, schema, previous_statistics)
    write_anomalies(to_anomalies(validation, schema), anomalies_path)
    write_validation(validation, anomalies_path)
    storage.write_text(page_path, render_validation(validation))
    for anomaly in validation.anomalies:
        if anomaly.severity == "WARNING":
            log.warning("%s", describe_anomaly(anomaly))
    if validation.errors:
        raise AnomalyError(refusal(validation))
