"""What the tests of several workers train: the shapes module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.train_model.config import TrainConfig
from components.train_model.together import WorkerInputs
from slipway.compute import Distribution
from slipway.runs.training_log import History
from tests.shapes import MODULE, Artifacts, publish, train_parameters
from tests.steps import train

MODEL = (MODULE / "model.py").read_text(encoding="utf-8")
ALL_ROWS = 540  # of the training split, without those held back


def spec_of(artifacts: Artifacts) -> dict[str, Any]:
    from tensorflow_transform import TFTransformOutput

    spec: dict[str, Any] = TFTransformOutput(artifacts.graph).transformed_feature_spec()
    return spec


def inputs_of(artifacts: Artifacts, folder: Path, model: str = MODEL, **training: Any) -> WorkerInputs:
    return WorkerInputs(
        transformed_uri=artifacts.transformed,
        features=WorkerInputs.features_of(spec_of(artifacts)),
        model_uri=publish(folder, model=model).model_uri,
        config=TrainConfig.model_validate_json(train_parameters(**training)),
        distribution=Distribution(workers=2),
        accelerator="",
        checkpoints_uri=str(folder / "checkpoints"),
    )


def run_step(
    artifacts: Artifacts,
    folder: Path,
    distribution: dict[str, Any],
    model: str = MODEL,
    accelerator: str = "",
    **training: Any,
) -> History:
    return train(
        *(artifacts.examples, artifacts.graph, artifacts.transformed),
        *(publish(folder, model=model).model_uri, train_parameters(**training), distribution),
        *(str(folder / "checkpoints"), str(folder / "model"), str(folder / "log")),
        accelerator=accelerator,
    )


CLUSTER = {
    "chief": ["cmle-training-workerpool0-ab-0:2222"],
    "worker": [f"cmle-training-workerpool1-ab-{i}:2222" for i in (0, 1)],
}


def tf_config(kind: str, index: int) -> dict[str, str]:
    """As https://cloud.google.com/vertex-ai/docs/training/distributed-training#tf-config has it."""
    return {
        "TF_CONFIG": json.dumps({"cluster": CLUSTER, "task": {"type": kind, "index": index}, "environment": "cloud"})
    }
