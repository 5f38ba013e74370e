"""The monitor: what is asked and answered, beside what was trained on; and whether to train again."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.compare_requests.component import compare_requests
from components.decide_retraining.component import decide_retraining
from components.resolve_window.component import resolve_window
from components.score_predictions.component import score_predictions
from components.submit_training.component import submit_training
from pipelines.platform import Steps, TaskDefaults
from pipelines.registry import Inputs, Pipeline, register
from slipway.data.examples.source import parts_of
from slipway.errors import ConfigError
from slipway.lineage import Shows, Verdict
from slipway.monitoring.config import GIVEN
from slipway.targets import DEFAULT_PIPELINE

NAME = "slipway-monitoring"


def build_monitoring_pipeline(defaults: TaskDefaults, given: Mapping[str, Any]) -> BaseComponent:
    """The pipeline for one platform; on a cluster its last step starts the training."""

    @dsl.pipeline(name=NAME, description="From the log of requests to a decision whether to train again.")
    def monitoring(
        data_uri: str = given["data_uri"],
        log_uri: str = given["log_uri"],
        window_start: str = given["window_start"],
        ask: str = given["ask"],
    ) -> None:
        """Compares a window of requests with the training rows, scores it, and decides.

        Args:
            data_uri: The data of the next training, whose digest is part of the decision.
            log_uri: The log of requests, a folder on gs:// or s3://.
            window_start: Start of the window, as 2026-11-26T00:00:00Z; the newest that is over if empty.
            ask: Write hand to train whatever the window shows.
        """
        known = {**given, **locals()}
        with defaults.recorded(known, NAME):
            steps = Steps(defaults, known)
            steps.add(resolve_window, "Resolve the window", cached=False)
            steps.add(compare_requests, "Compare the requests", cached=False)
            steps.add(score_predictions, "Score the predictions", cached=False)
            decided = steps.add(decide_retraining, "Decide on retraining", cached=False)
            if given["training_uri"]:  # on this machine the command trains
                steps.add(submit_training, "Submit the training", cached=False, after=decided)

    return monitoring


def monitoring_arguments(inputs: Inputs) -> dict[str, Any]:
    """What the steps are given.

    Raises:
        ConfigError: the log or the labels lie where the platform cannot read them.
    """
    config, its, log = inputs.config, inputs.config.monitoring, inputs.platform.request_log
    labels = parts_of(its.labels, inputs.project) if its.labels else []
    if inputs.platform.target != "local":
        for part in labels:
            _require_bucket("monitoring.labels", part, "gs://", "s3://")
        if log:
            _require_bucket("request_log", log, "gs://", "s3://", "bq://")
    if labels:
        config = config.model_copy(update={"monitoring": its.model_copy(update={"labels": ",".join(labels)})})
    return {
        "module": inputs.module.name,
        "data_uri": inputs.data_uri,
        "window": inputs.config.ingestion.window,
        "snapshots_uri": inputs.locations.data,
        "log_uri": log,
        "window_start": "",
        "ask": "",
        "metrics_uri": inputs.module.metrics_uri,
        "monitor_config": config.model_dump_json(include=GIVEN, exclude_none=True),
        "store_uri": inputs.locations.store,
        "monitoring_uri": inputs.locations.monitoring,
        "training_uri": inputs.prepared_uri,
    }


def _require_bucket(what: str, uri: str, *schemes: str) -> None:
    if not uri.startswith(schemes):
        raise ConfigError(
            f"{what} = {uri!r}: a run on a cluster cannot read this machine's files; write them to gs://BUCKET/PATH or "
            "s3://BUCKET/PATH, and name that"
        )


MONITORING = Pipeline(
    name="monitoring",
    build=build_monitoring_pipeline,
    arguments=monitoring_arguments,
    shows=Shows(
        pages={"The window": "decide_retraining.window_page"},
        verdicts={
            "stable": Verdict(text="given a stable window", news="the window is stable"),
            "not-enough": Verdict(
                text="given too few requests to tell", news="too few requests to tell drift from chance", tone="warn"
            ),
            "drift": Verdict(text="given a window that drifted", news="requests drifted from training", tone="warn"),
            "traffic": Verdict(
                text="given unusual traffic", news="the number of calls, or of failed ones, is unusual", tone="warn"
            ),
            "worse": Verdict(text="given worse predictions", news="the predictions became worse", tone="bad"),
            "broken": Verdict(text="given a broken feature", news="a feature is broken at its source", tone="bad"),
            "retrained": Verdict(text="followed by a training", news="a training was asked for", tone="warn"),
        },
        no_verdict="the window was not judged",
    ),
    starts=DEFAULT_PIPELINE,
)
register(MONITORING)
