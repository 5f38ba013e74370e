"""The step that stops bad data before training."""

from kfp import dsl

from components import component


@component()
def validate_examples(
    examples: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    previous_statistics: str,
    anomalies: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Checks the examples against the schema, for skew between splits and for drift; fails on an error.

    `anomalies` holds `anomalies.pbtxt` (an `Anomalies` proto) and `validation.json`; they are written before it fails.
    """
    import logging

    from slipway.data.schema import read_schema
    from slipway.data.statistics.io import read_statistics
    from slipway.data.validation.anomalies import to_anomalies, write_anomalies
    from slipway.data.validation.page import render_validation
    from slipway.data.validation.report import describe_anomaly, refusal, write_validation
    from slipway.data.validation.validate import validate_examples
    from slipway.errors import AnomalyError
    from slipway.stores import storage

    asked = read_schema(schema.path)
    validation = validate_examples(examples.path, read_statistics(statistics.path), asked, previous_statistics)
    write_anomalies(to_anomalies(validation, asked), anomalies.path)
    write_validation(validation, anomalies.path)
    anomalies.metadata.update(validation.facts())
    anomalies.metadata["files"] = (
        "anomalies.pbtxt: an Anomalies proto. validation.json: the findings that `page` shows."
    )
    storage.write_text(page.path, render_validation(validation))
    for anomaly in validation.anomalies:
        if anomaly.severity == "WARNING":
            logging.warning("%s", describe_anomaly(anomaly))
    if validation.errors:
        raise AnomalyError(refusal(validation))
