"""The step that proves that a model can serve: its files, then real requests to a real server, over gRPC and REST."""

from kfp import dsl

from components import component


@component(tensorflow=True)
def validate_serving(
    eval_sample: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    serving_validation: dsl.Output[dsl.Artifact],
) -> None:
    """Sends real rows through every signature and compares the golden answers; `validation.json` has all checks.

    `eval_sample` has the rows. A model that cannot serve is a result, not an error.
    """
    from pathlib import Path

    from components.validate_serving.answers import check_served
    from components.validate_serving.files import check_files, check_warmup
    from slipway.data.examples.dataset import open_split
    from slipway.data.schema import model_inputs, read_schema
    from slipway.errors import GateError
    from slipway.evaluation.serving_checks import ServingValidation, write_validation

    features = model_inputs(read_schema(schema.path))
    split = open_split(eval_sample.path, "eval")
    there = set(split.schema.names)
    rows = split.head(300, columns=[feature.name for feature in features if feature.name in there])
    if not rows.num_rows:
        raise GateError(f"{eval_sample.path}: the eval split has no rows that could be sent to the model")
    checks = check_files(Path(model.path))
    if all(check.passed for check in checks):
        checks += [check_warmup(Path(model.path)), *check_served(Path(model.path), rows, features)]
    for check in checks:
        print(f"{'passed' if check.passed else 'FAILED'}  {check.name}: {check.detail}")
    servable = all(check.passed for check in checks)
    serving_validation.metadata["servable"] = servable
    write_validation(ServingValidation(servable=servable, checks=checks), serving_validation.path)
    serving_validation.metadata["files"] = "validation.json: each check of the model on a server, and what it found."
