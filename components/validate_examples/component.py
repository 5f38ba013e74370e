"""Interface of the step that stops bad data before training."""

from kfp import dsl

from components import component


@component
def validate_examples(
    examples: dsl.Input[dsl.Dataset],
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Input[dsl.Artifact],
    previous_statistics: str,
    anomalies: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Checks the examples against the schema, for skew between splits and for drift; fails on an error.

    `anomalies` holds `anomalies.pbtxt` (an `Anomalies` proto) and `validation.json`.
    """
    from components.validate_examples.run import validate

    validate(examples.path, statistics.path, schema.path, previous_statistics, anomalies.path, page.path)
