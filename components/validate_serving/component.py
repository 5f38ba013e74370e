"""Interface of the step that proves that the model can serve."""

from kfp import dsl

from components import component


@component(tensorflow=True)
def validate_serving(
    examples: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    serving_validation: dsl.Output[dsl.Artifact],
) -> None:
    """Sends real rows through every signature and compares the golden answers; `validation.json` has all checks."""
    from components.validate_serving.run import validate

    validate(examples.path, schema.path, model.path, serving_validation.path)
