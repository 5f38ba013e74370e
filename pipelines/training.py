"""The training pipeline, from raw data to a served model. Every task is a folder under `components/`."""

import json
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.admit_examples.component import admit_examples
from components.compute_statistics.component import compute_statistics
from components.confirm_rollout.component import confirm_rollout
from components.evaluate_model.component import evaluate_model
from components.infer_schema.component import infer_schema
from components.ingest_examples.component import ingest_examples
from components.push_model.component import push_model
from components.resolve_baseline.component import resolve_baseline
from components.resolve_source.component import resolve_source
from components.rollout_model.component import rollout_model
from components.train_model.component import train_model
from components.transform_features.component import transform_features
from components.tune_model.component import tune_model
from components.validate_examples.component import validate_examples
from components.validate_serving.component import validate_serving
from pipelines.platform import Steps, TaskDefaults
from pipelines.registry import Inputs, Pipeline, register
from slipway.compute import Distribution
from slipway.lineage import Shows, Verdict
from slipway.module_api import ModuleConfig, Tuning
from slipway.runs.record import BAD_DATA, REPEATED
from slipway.stores.storage import join

NAME = "slipway-training"


def build_training_pipeline(defaults: TaskDefaults, given: Mapping[str, Any]) -> BaseComponent:
    """The pipeline for one platform; the same tasks and edges on each."""
    spread = Distribution.model_validate(given["distribution"])

    @dsl.pipeline(name=NAME, description="From raw data to a served model.")
    def training(
        data_uri: str = given["data_uri"],
        window: int = given["window"],
        epochs: int = given["epochs"],
        seed: int = given["seed"],
        hyperparameters: str = given["hyperparameters"],
    ) -> None:
        """Trains, judges and pushes a model.

        Args:
            data_uri: File, glob or {SPAN} pattern on gs:// or s3://, bq://PROJECT.DATASET.TABLE, or snapshot:NAME.
            window: How many of the newest spans are read, where data_uri holds {SPAN}.
            epochs: Most epochs of the training.
            seed: Seed of the training.
            hyperparameters: JSON object with those of module.yaml; what is left out is as there.
        """
        known = {**given, **locals()}
        with defaults.recorded(known, NAME):
            steps = Steps(defaults, known)
            steps.add(resolve_source, "Resolve the source", cached=False)
            steps.add(ingest_examples, "Ingest examples")
            steps.add(compute_statistics, "Compute statistics")
            steps.add(infer_schema, "Infer the schema")
            steps.add(validate_examples, "Validate examples")
            admitted = steps.add(admit_examples, "Admit the examples", cached=False)
            steps.add(transform_features, "Transform features", after=admitted)
            if given["search"]:
                steps.add(tune_model, "Tune the model", cached=False)
            # On Kubeflow and on this machine the step itself starts the other workers.
            machines = spread.workers if spread.target == "vertex" else 1
            steps.add(train_model, "Train the model", machines=machines)
            steps.add(resolve_baseline, "Resolve the baseline", cached=False)
            steps.add(evaluate_model, "Evaluate the model")
            steps.add(validate_serving, "Validate serving")
            pushed = steps.add(push_model, "Push the model", cached=False)
            steps.add(rollout_model, "Roll the model out", cached=False, after=pushed)
            steps.add(confirm_rollout, "Confirm the rollout", cached=False)

    return training


def training_arguments(inputs: Inputs) -> dict[str, Any]:
    """What the steps are given. kfp refuses null, and makes floats of all numbers in a dict."""
    module, config, locations, platform = inputs.module, inputs.config, inputs.locations, inputs.platform
    content = config.model_dump(mode="json", exclude_none=True)
    evaluation = {key: content[key] for key in ("task", "label", "classes", "slices", "thresholds", "metrics")}
    sliced = (*config.slices, *(one.slice for one in config.thresholds))
    judged = {one.of_class for one in config.thresholds if one.of_class is not None}
    trained = {"task", "label", "classes", "training", "hyperparameters"}
    return {
        "module": module.name,
        "data_uri": inputs.data_uri,
        "window": config.ingestion.window,
        "features": inputs.features,
        "epochs": config.training.epochs,
        "seed": config.training.seed,
        "hyperparameters": json.dumps(config.hyperparameters),
        "preprocessing_uri": module.preprocessing_uri,
        "model_uri": module.model_uri,
        "schema_uri": module.schema_uri,
        "metrics_uri": module.metrics_uri,
        "ingestion": {key: content[key] for key in ("task", "label", "split", "ingestion")},
        "label": content["label"],
        "group": config.group,
        # As text, so that hyperparameters keep their types.
        "training": json.dumps({**config.model_dump(mode="json", include=trained), "group": config.group}),
        "declared": {
            **{key: content[key] for key in ("task", "label", "classes")},
            "sliced": sorted({column for columns in sliced for column in columns}),
            "judged": sorted(judged),
        },
        "evaluation_config": {**evaluation, "engine": platform.engine},
        "beam": platform.beam.model_dump(),
        "distribution": {**platform.distribution.model_dump(), "target": platform.target},
        # They decide the last digits of a model, so they are inputs, which a cache goes by.
        "training_accelerator": platform.accelerators.get("train_model", ""),
        "tuning_accelerator": platform.accelerators.get("tune_model", ""),
        "rollout": platform.rollout,
        "runs_uri": locations.runs,
        "sources_uri": locations.sources,
        "snapshots_uri": locations.data,
        "checkpoints_uri": locations.checkpoints,
        # Empty for a module without a search space, whose pipeline has no step tune_model.
        "search": _search(config),
        "tuning_uri": join(locations.tuning, module.name),
        "tuned": "",
        "store_uri": locations.store,
    }


def _search(config: ModuleConfig) -> str:
    """The parameter `search` of tune_model, as text, so that numbers keep their types; empty if nothing is tuned."""
    if not config.is_tuned:
        return ""
    space = {name: one.model_dump(mode="json") for name, one in config.search_space.items()}
    return json.dumps({"search_space": space, "tuning": (config.tuning or Tuning()).model_dump(mode="json")})


TRAINING = Pipeline(
    name="training",
    build=build_training_pipeline,
    arguments=training_arguments,
    shows=Shows(
        examples="examples",
        statistics="statistics",
        data_validation="anomalies",
        training_log="training_log",
        evaluation="evaluation",
        serving_checks="serving_validation",
        pages={"Tuning": "tune_model.tuning_page"},
        verdicts={
            BAD_DATA: Verdict(
                text="stopped before training: its data was refused", news="the data was refused", tone="bad"
            ),
            "pushed": Verdict(text="pushed as version {version} of {module}", news="version {version} was pushed"),
            "refused": Verdict(
                text="not pushed: the gate refused its model", news="the model was refused", tone="warn"
            ),
            REPEATED: Verdict(text="not pushed: it repeats another run", news="the run was repeated"),
        },
        no_verdict="no model was pushed",
    ),
)
register(TRAINING)
