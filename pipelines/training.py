"""The training pipeline: wiring only. Every task is a folder under `components/`."""

from dataclasses import dataclass, field
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.compute_statistics.component import compute_statistics
from components.evaluate_model.component import evaluate_model
from components.infer_schema.component import infer_schema
from components.ingest_examples.component import ingest_examples
from components.push_model.component import push_model
from components.record_run.component import record_run
from components.resolve_baseline.component import resolve_baseline
from components.resolve_source.component import resolve_source
from components.rollout_model.component import rollout_model
from components.train_model.component import train_model
from components.transform_features.component import transform_features
from components.validate_examples.component import validate_examples
from components.validate_serving.component import validate_serving
from slipway.compute import Compute

NAME = "slipway-training"


@dataclass(frozen=True)
class TaskDefaults:
    """What the platform decides.

    That is the image of all tasks, what each asks for (`default` for those not named), the placeholders of a run's id
    (as `slipway.runs.naming.job_id` takes it) and of the time when it was made, and kfp's `backoff_max_duration`, which
    each platform reads in its own way. kfp.local has no such time, and starts nothing again.
    """

    image: str
    compute: dict[str, Compute] = field(default_factory=dict)
    job: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    job_created: str = ""
    backoff_max: str = ""

    def apply(self, task: dsl.PipelineTask, title: str, *, cached: bool = True) -> dsl.PipelineTask:
        """Sets image, display name, resources, retries and caching of one task."""
        compute = self.compute.get(task.name.replace("-", "_"), self.compute.get("default", Compute()))
        task.set_container_image(self.image)
        task.set_display_name(title)
        task.set_caching_options(cached)
        task.set_cpu_request(compute.cpu).set_cpu_limit(compute.cpu)
        task.set_memory_request(compute.memory).set_memory_limit(compute.memory)
        if compute.retries:
            longest = self.backoff_max
            task.set_retry(compute.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration=longest)
        return task


def build_training_pipeline(defaults: TaskDefaults) -> BaseComponent:
    """The pipeline for one platform; the same tasks and edges on each."""
    apply = defaults.apply

    @dsl.pipeline(name=NAME, description="From raw data to a served model.")
    def training(
        data_uri: str,
        module: str,
        preprocessing_uri: str,
        model_uri: str,
        curated_schema: str,
        ingestion: dict[str, Any],
        label: dict[str, Any],
        training: dict[str, Any],
        evaluation: dict[str, Any],
        beam: dict[str, Any],
        distribution: dict[str, Any],
        window: int,
        store_uri: str,
        runs_uri: str,
        run_uri: str,
        checkpoints_uri: str,
        manifests_uri: str,
        cluster: str,
        rollout: dict[str, Any],
        notifications: dict[str, Any],
        page: str,
        lineage: dict[str, Any],
    ) -> None:
        # Clones of a run, and the runs of a schedule, have the same arguments: these tell them apart.
        job: dict[str, Any] = {"job": defaults.job, "job_created": defaults.job_created}
        told: dict[str, Any] = {"notifications": notifications, "page": page}
        on_exit = apply(
            record_run(run_uri=run_uri, lineage=lineage, **job, **told),
            "Record the run",
            cached=False,
        )
        with dsl.ExitHandler(on_exit, name="train"):
            source = apply(
                resolve_source(data_uri=data_uri, window=window, module=module, runs_uri=runs_uri),
                "Resolve the source",
                cached=False,
            )
            examples = apply(
                ingest_examples(source=source.outputs["source"], ingestion=ingestion, curated_schema=curated_schema),
                "Ingest examples",
            ).outputs["examples"]
            statistics = apply(compute_statistics(examples=examples), "Compute statistics").outputs["statistics"]
            schema = apply(
                infer_schema(statistics=statistics, label=label, curated_schema=curated_schema),
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
                    run_uri=run_uri,
                    lineage=lineage,
                    **job,
                ),
                "Push the model",
                cached=False,
            )
            apply(
                rollout_model(
                    store_uri=store_uri,
                    run_uri=run_uri,
                    manifests_uri=manifests_uri,
                    cluster=cluster,
                    policy=rollout,
                    lineage=lineage,
                    **job,
                    **told,
                ).after(pushed),
                "Roll the model out",
                cached=False,
            )

    return training
