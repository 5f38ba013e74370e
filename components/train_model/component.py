"""Interface of the step that trains and exports the model."""

from typing import Any

from kfp import dsl

from components import component


@component(tensorflow=True)
def train_model(
    examples: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    transform_graph: dsl.Input[dsl.Artifact],
    transformed_examples: dsl.Input[dsl.Dataset],
    model_uri: str,
    training: str,
    distribution: dict[str, Any],
    checkpoints_uri: str,
    model: dsl.Output[dsl.Model],
    training_log: dsl.Output[dsl.Artifact],
) -> None:
    """Fits the module's model and exports it with the transform inside. Killed, it resumes from its last checkpoint.

    `training` is the JSON text of a `TrainConfig`. `model` is a SavedModel with `assets.extra/`; `training_log` holds
    `history.json` and TensorBoard's event files.
    """
    from components.train_model.run import train

    train(
        examples.path,
        schema.path,
        transform_graph.path,
        transformed_examples.path,
        model_uri,
        training,
        distribution,
        checkpoints_uri,
        model.path,
        training_log.path,
    )
