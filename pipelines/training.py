"""The training pipeline, from raw data to a served model. Every task is a folder under `components/`."""

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.compute_statistics.component import compute_statistics
from components.evaluate_model.component import evaluate_model
from components.infer_schema.component import infer_schema
from components.ingest_examples.component import ingest_examples
from components.push_model.component import push_model
from components.resolve_baseline.component import resolve_baseline
from components.resolve_source.component import resolve_source
from components.rollout_model.component import rollout_model
from components.train_model.component import train_model
from components.transform_features.component import transform_features
from components.validate_examples.component import validate_examples
from components.validate_serving.component import validate_serving
from pipelines.platform import Inputs, TaskDefaults
from pipelines.registry import Pipeline, register
from slipway.lineage import Shows, Verdict


def build_training_pipeline(defaults: TaskDefaults) -> BaseComponent:
    """The pipeline for one platform; the same tasks and edges on each."""
    apply = defaults.apply

    @dsl.pipeline(name="slipway-training", description="From raw data to a served model.")
    def training(
        run: str,
        module: str,
        data_uri: str,
        window: int,
        preprocessing_uri: str,
        model_uri: str,
        schema_uri: str,
        ingestion: dict[str, Any],
        label: dict[str, Any],
        training: str,
        evaluation: dict[str, Any],
        beam: dict[str, Any],
        distribution: dict[str, Any],
        rollout: dict[str, Any],
        runs_uri: str,
        sources_uri: str,
        checkpoints_uri: str,
        store_uri: str,
    ) -> None:
        with defaults.recorded(run):
            source = apply(
                resolve_source(
                    data_uri=data_uri, window=window, module=module, runs_uri=runs_uri, sources_uri=sources_uri
                ),
                "Resolve the source",
                cached=False,
            )
            examples = apply(
                ingest_examples(source_uri=source.outputs["source_uri"], ingestion=ingestion, schema_uri=schema_uri),
                "Ingest examples",
            ).outputs["examples"]
            statistics = apply(compute_statistics(examples=examples), "Compute statistics").outputs["statistics"]
            schema = apply(
                infer_schema(statistics=statistics, label=label, schema_uri=schema_uri),
                "Infer the schema",
            ).outputs["schema"]
            validated = apply(
                validate_examples(
                    examples=examples,
                    statistics=statistics,
                    schema=schema,
                    previous_statistics=source.outputs["previous_statistics"],
                ),
                "Validate examples",
            )
            transformed = apply(
                transform_features(
                    examples=examples,
                    schema=schema,
                    preprocessing_uri=preprocessing_uri,
                    label=label,
                    beam=beam,
                ).after(validated),
                "Transform features",
            )
            trained = apply(
                train_model(
                    examples=examples,
                    schema=schema,
                    transform_graph=transformed.outputs["transform_graph"],
                    transformed_examples=transformed.outputs["transformed_examples"],
                    model_uri=model_uri,
                    training=training,
                    distribution=distribution,
                    checkpoints_uri=checkpoints_uri,
                ),
                "Train the model",
            )
            model = trained.outputs["model"]
            baseline = apply(
                resolve_baseline(model=model, store_uri=store_uri, module=module),
                "Resolve the baseline",
                cached=False,
            )
            evaluated = apply(
                evaluate_model(
                    examples=examples,
                    schema=schema,
                    model=model,
                    baseline=baseline.output,
                    evaluation_config=evaluation,
                    beam=beam,
                ),
                "Evaluate the model",
            )
            servable = apply(validate_serving(examples=examples, schema=schema, model=model), "Validate serving")
            pushed = apply(
                push_model(
                    examples=examples,
                    statistics=statistics,
                    schema=schema,
                    anomalies=validated.outputs["anomalies"],
                    model=model,
                    training_log=trained.outputs["training_log"],
                    evaluation=evaluated.outputs["evaluation"],
                    serving_validation=servable.outputs["serving_validation"],
                    store_uri=store_uri,
                    **defaults.this_run(run),
                ),
                "Push the model",
                cached=False,
            )
            apply(
                rollout_model(store_uri=store_uri, rollout=rollout, **defaults.this_run(run)).after(pushed),
                "Roll the model out",
                cached=False,
            )

    return training


def training_arguments(inputs: Inputs) -> dict[str, Any]:
    """What a run of the training pipeline is given. kfp refuses null, and makes floats of all numbers in a dict."""
    module, config, locations, platform = inputs.module, inputs.config, inputs.locations, inputs.platform
    content = config.model_dump(mode="json", exclude_none=True)
    return {
        "module": module.name,
        "data_uri": inputs.data_uri,
        "window": config.ingestion.window,
        "preprocessing_uri": module.preprocessing_uri,
        "model_uri": module.model_uri,
        "schema_uri": module.schema_uri,
        "ingestion": {key: content[key] for key in ("task", "label", "split", "ingestion")},
        "label": content["label"],
        # As text, so that hyperparameters keep their types.
        "training": config.model_dump_json(include={"task", "label", "classes", "training", "hyperparameters"}),
        "evaluation": {key: content[key] for key in ("task", "label", "classes", "slices", "thresholds")}
        | {"engine": platform.engine},
        "beam": {"options": list(platform.beam_options)},
        "distribution": {"strategy": platform.strategy},
        "rollout": {
            "manifests_uri": platform.manifests_uri,
            "cluster": platform.cluster,
            "policy": platform.rollout,
        },
        "runs_uri": locations.runs,
        "sources_uri": locations.sources,
        "checkpoints_uri": locations.checkpoints,
        "store_uri": locations.store,
    }


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
        verdicts={
            "pushed": Verdict(text="pushed as version {version} of {module}", news="version {version} was pushed"),
            "refused": Verdict(
                text="not pushed: the gate refused its model", news="the model was refused", tone="warn"
            ),
        },
        no_verdict="no model was pushed",
    ),
)
register(TRAINING)
