"""The policy of a rollout: the class that the settings, the pipeline's parameter and the engine share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RolloutPolicy(BaseModel):
    """Size of the canary, the criteria for its promotion, and time limits.

    Attributes:
        models_path: The model store as serving pods see it: gs://…, s3://… with an address inside the cluster
            (`?endpoint_override=…`), or where a volume is mounted. The store's own address if empty.
        canary_replicas: Pods of the canary.
        ready_seconds: How long pods may take to become ready, their fetching and loading of the model included.
        window_seconds: Shortest period over which canary and stable are compared.
        traffic_seconds: How long to wait for `min_requests`; then the rollout is inconclusive.
        min_requests: Requests that canary and stable must each have answered before they are compared.
        max_error_increase: Largest allowed excess of the canary's error rate over stable's; client errors do not count.
            A difference within chance does not fail the canary.
        max_p99_ratio: Largest allowed ratio of the canary's percentiles of latency to stable's, from the median to the
            99th. A difference within chance does not fail the canary.
        golden_tolerance: Allowed difference of an answer to a golden request; relative above 1.
        on_inconclusive: `hold` keeps the canary for a person's decision, `rollback` removes it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models_path: str = ""
    canary_replicas: int = Field(1, ge=1)
    ready_seconds: int = Field(900, ge=1)
    window_seconds: int = Field(300, ge=0)
    traffic_seconds: int = Field(1800, ge=0)
    min_requests: int = Field(1000, ge=1)
    max_error_increase: float = Field(0.01, ge=0, le=1)
    max_p99_ratio: float = Field(2.0, ge=1)
    golden_tolerance: float = Field(1e-5, ge=0)
    on_inconclusive: Literal["hold", "rollback"] = "hold"
