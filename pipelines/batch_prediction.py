"""The pipeline that predicts the rows of a table with a stored version."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.finish_batch.component import finish_batch
from components.predict_batch.component import predict_batch
from components.resolve_batch.component import resolve_batch
from components.validate_batch.component import validate_batch
from pipelines.platform import Steps, TaskDefaults
from pipelines.registry import Inputs, Pipeline, register
from serving.batch.config import GIVEN
from slipway.errors import ConfigError
from slipway.lineage import Shows, Verdict
from slipway.runs.record import BAD_DATA

NAME = "slipway-batch-prediction"


def build_batch_pipeline(defaults: TaskDefaults, given: Mapping[str, Any]) -> BaseComponent:
    """The pipeline for one platform; `shards` of it predict side by side on a cluster."""

    @dsl.pipeline(name=NAME, description="From a table to predictions of its rows.")
    def batch_prediction(
        data_uri: str = given["data_uri"],
        window: int = given["window"],
        to: str = given["to"],
    ) -> None:
        """Checks a table, and predicts its rows.

        Args:
            data_uri: File, glob or {SPAN} pattern on gs:// or s3://, bq://PROJECT.DATASET.TABLE, or snapshot:NAME.
            window: How many of the newest spans are read, where data_uri holds {SPAN}.
            to: Folder or file on gs:// or s3://, or bq://PROJECT.DATASET.TABLE; {SPAN} and {RUN} may stand in it.
        """
        known = {**given, **locals()}
        with defaults.recorded(known, NAME):
            steps = Steps(defaults, known)
            steps.add(resolve_batch, "Resolve the batch", cached=False)
            steps.add(validate_batch, "Validate the batch", cached=False)
            shards = [
                steps.add(predict_batch, f"Predict shard {shard + 1}", cached=False, shard=shard)
                for shard in range(given["shards"])
            ]
            steps.add(finish_batch, "Finish the batch", cached=False).after(*shards)

    return batch_prediction


def batch_arguments(inputs: Inputs) -> dict[str, Any]:
    """What the steps are given.

    Raises:
        ConfigError: the destination lies where the platform cannot write.
    """
    asked, to = inputs.config.batch_prediction, inputs.config.batch_prediction.to
    if inputs.platform.target != "local" and not to.startswith(("gs://", "s3://", "bq://")):
        raise ConfigError(
            f"batch_prediction.to = {to!r}: a run on a cluster cannot write to this machine; give --to "
            "gs://BUCKET/PATH, s3://BUCKET/PATH or bq://PROJECT.DATASET.TABLE"
        )
    return {
        "module": inputs.module.name,
        "data_uri": inputs.data_uri,
        "window": inputs.config.ingestion.window,
        "to": to if "://" in to or not to else str(inputs.project / to),
        "batch_config": inputs.config.model_dump_json(include=GIVEN, exclude_none=True),
        "features": inputs.features,
        "store_uri": inputs.locations.store,
        "sources_uri": inputs.locations.sources,
        "snapshots_uri": inputs.locations.data,
        "batch_uri": inputs.locations.batch,
        "shards": asked.shards,
    }


BATCH_PREDICTION = Pipeline(
    name="batch_prediction",
    build=build_batch_pipeline,
    arguments=batch_arguments,
    shows=Shows(
        pages={"Predictions": "finish_batch.batch_page", "The data": "validate_batch.batch_check_page"},
        verdicts={
            "predicted": Verdict(text="given predictions", news="the table was predicted"),
            "predicted-with-warnings": Verdict(
                text="given predictions, with warnings", news="the table was predicted, with warnings", tone="warn"
            ),
            BAD_DATA: Verdict(
                text="stopped before predicting: its data was refused", news="the data was refused", tone="bad"
            ),
        },
        no_verdict="nothing was predicted",
    ),
)
register(BATCH_PREDICTION)
