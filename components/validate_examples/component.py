"""The step that finds what is wrong with the data."""

from typing import Any

from kfp import dsl

from components import component


@component()
def validate_examples(
    examples: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    previous_statistics: str,
    declared: dict[str, Any],
    anomalies: dsl.Output[dsl.Artifact],
    anomalies_page: dsl.Output[dsl.HTML],
) -> None:
    """Checks the examples against the schema and module.yaml, for skew between splits and for drift.

    `declared` is a `Declared`: what module.yaml says of the examples. `anomalies` holds `anomalies.pbtxt` (an
    `Anomalies` proto) and `validation.json`. Errors among them stop the run at the next step, admit_examples: Kubeflow
    registers no artifact of a step that failed, so nobody would see the page.
    """
    import logging

    from slipway.data.examples.dataset import read_manifest
    from slipway.data.schema import digest_schema, read_schema
    from slipway.data.statistics.io import read_statistics
    from slipway.data.validation.anomalies import to_anomalies, write_anomalies
    from slipway.data.validation.declared import Declared, check_declared
    from slipway.data.validation.page import render_validation
    from slipway.data.validation.report import describe_anomaly, write_validation
    from slipway.data.validation.validate import validate_examples
    from slipway.stores import storage

    asked, manifest = read_schema(schema.path), read_manifest(examples.path)
    unlike = list(check_declared(examples.path, manifest, Declared.model_validate(declared)))
    measured = read_statistics(statistics.path)
    validation = validate_examples(examples.path, measured, asked, previous_statistics, unlike)
    write_anomalies(to_anomalies(validation, asked), anomalies.path)
    write_validation(validation, anomalies.path)
    anomalies.metadata.update(validation.facts())
    anomalies.metadata["files"] = (
        "anomalies.pbtxt: an Anomalies proto. validation.json: the findings that `anomalies_page` shows."
    )
    storage.write_text(anomalies_page.path, render_validation(validation))
    for anomaly in validation.anomalies:
        logging.log(logging.getLevelName(anomaly.severity), "%s", describe_anomaly(anomaly))
    anomalies.metadata.update(
        data_digest=manifest.digest,
        schema_digest=digest_schema(schema.path),
        examples_uri=examples.uri,
        statistics_uri=statistics.uri,
        schema_uri=schema.uri,
    )
