"""`monitoring` of `module.yaml`: how the served model is watched, and when it is trained again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from slipway.module_api.base import MetricName, Strict

Trigger = Literal["schedule", "new_data", "drift", "performance", "hand"]


class Retraining(Strict):
    """When the monitor trains again.

    A cause, `drift` or worse `performance`, trains once when it holds in `windows` windows running, and again only
    after it was below `rearm` of its threshold, or where other columns drift. By hand is always possible.
    """

    triggers: tuple[Trigger, ...] = ("drift", "performance")
    windows: int = Field(2, ge=1)
    rearm: float = Field(0.5, ge=0, le=1)
    cool_down_days: float = Field(7, ge=0, description="after each training, also one whose model was refused")
    per_week: int = Field(2, ge=1, description="trainings in any seven days")


class MonitoredFeature(Strict):
    """How one feature is watched."""

    threshold: float | None = Field(None, gt=0, le=1, description="of its drift; by default that of all features")
    decides: bool | None = Field(None, description="a reason to train; by default not where it follows the clock")


class Monitoring(Strict):
    """How the served model is watched, window by window.

    A feature drifted if its Jensen-Shannon divergence from the training rows is above `threshold` and above chance.
    `labels` is a data URI of labels that come later, in the format that `ingestion` reads: the columns of `key` and
    the label (or those that its expression needs). `key` is `request_id` and `instance`, or a feature that is logged.
    Performance is worse if a metric is below the evaluation's by more than `max_drop` and more than chance.
    """

    window: str = Field("1d", pattern=r"^[1-9][0-9]{0,3}[hd]$", description="length of a window: 1h, 1d, 7d")
    threshold: float = Field(0.02, gt=0, le=1)
    features: dict[str, MonitoredFeature] = Field(default_factory=dict)
    min_rows: int = Field(200, ge=1, description="requests below which a window says nothing")
    labels: str | None = None
    key: tuple[str, ...] = ("request_id", "instance")
    min_labels: int = Field(300, ge=1, description="labels below which performance is not judged")
    label_windows: int = Field(30, ge=1, description="windows for whose labels the monitor waits")
    metric: MetricName | None = Field(None, description="that decides; by default the first of the thresholds")
    max_drop: float = Field(0.02, ge=0)
    retraining: Retraining = Retraining()
