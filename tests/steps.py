"""The steps as functions of paths: each artifact is given as the path where it lies."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

from components.compute_statistics.component import compute_statistics
from components.evaluate_model.component import evaluate_model
from components.infer_schema.component import infer_schema
from components.ingest_examples.component import ingest_examples
from components.resolve_baseline.component import resolve_baseline
from components.resolve_source.component import resolve_source
from components.train_model.component import train_model
from components.train_model.config import TrainConfig
from components.transform_features.component import transform_features
from components.validate_examples.component import validate_examples
from components.validate_serving.component import validate_serving
from slipway.data.examples.dataset import Manifest, read_manifest
from slipway.evaluation.results import Evaluation, read_evaluation
from slipway.evaluation.serving_checks import ServingValidation, read_validation
from slipway.runs.training_log import History, read_history
from slipway.stores.model_store import digest_model

# Values of the form, for the steps that record a run.
FIELDS: dict[str, Any] = {"data_uri": "trips.csv", "window": 1, "epochs": 1, "seed": 1, "hyperparameters": ""}


def of_paths(step: Any) -> Callable[..., Any]:
    function = step.python_func
    kinds = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]

    def start(*arguments: Any) -> Any:
        given = [
            get_args(kind)[0](uri=value) if get_origin(kind) is Annotated and isinstance(value, str) else value
            for kind, value in zip(kinds, arguments, strict=True)
        ]
        return function(*given)

    return start


compute = of_paths(compute_statistics)
validate_data = of_paths(validate_examples)


def resolve(*arguments: Any, snapshots: str = "", features: str = "[]") -> tuple[str, str]:
    source, previous = of_paths(resolve_source)(*arguments, snapshots, features)
    return source, previous


def infer(statistics: str, label: dict[str, Any], *others: Any, group: str = "") -> None:
    of_paths(infer_schema)(statistics, label, group, *others)


def transform(examples: str, schema: str, uri: str, label: dict[str, Any], *others: Any, group: str = "") -> None:
    of_paths(transform_features)(examples, schema, uri, label, group, *others)


def find_baseline(model: str, store: str, module: str) -> str:
    return str(resolve_baseline.python_func(digest_model(model), store, module)[0])


def find_served(model: str, store: str, module: str) -> dict[str, str]:
    return dict(resolve_baseline.python_func(digest_model(model), store, module)[1])


def ingest(*arguments: Any) -> Manifest:
    *_, examples = arguments
    of_paths(ingest_examples)(*arguments, f"{examples}-sample")
    return read_manifest(examples)


def train(*arguments: Any, accelerator: str = "", **fields: Any) -> History:
    """The fields of the form are those of `training`, unless they are given."""
    *before, training = arguments[:5]
    distribution, *places = arguments[5:]
    its = TrainConfig.model_validate_json(training)
    given = {"epochs": its.training.epochs, "seed": its.training.seed, "hyperparameters": "", "tuned": "", **fields}
    inputs = [*before, training, *given.values(), distribution, accelerator]
    of_paths(train_model)(*inputs, *places, f"{arguments[-1]}-metrics")
    return read_history(arguments[-1])


def evaluate(*arguments: Any, metrics_uri: str = "") -> Evaluation:
    of_paths(evaluate_model)(*arguments[:6], metrics_uri, *arguments[6:])
    return read_evaluation(arguments[7])


def validate_model(*arguments: Any) -> ServingValidation:
    of_paths(validate_serving)(*arguments)
    return read_validation(arguments[-1])
