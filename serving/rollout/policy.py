"""Settings of a rollout: the class that the settings, the pipeline's parameter and the engine share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RolloutPolicy(BaseModel):
    """Size of the canary, what it must show, and how long that may take.

    Attributes:
        models_path: The model store as serving pods see it: gs://…, or where a volume is mounted. The store's own
            address if empty.
        canary_replicas: Pods of the canary.
        ready_seconds: How long pods may take to become ready, the download of the model included.
        window_seconds: Over which canary and stable are compared, at least.
        traffic_seconds: How long to wait for `min_requests`; then the rollout is inconclusive.
        min_requests: That both must have answered; of fewer, a p99 is noise.
        max_error_increase: How much higher the canary's share of errors may be than stable's.
        max_p99_ratio: How many times stable's 99th percentile of latency the canary's may be.
        golden_tolerance: How far an answer to a golden request may be off, relative above 1.
        on_inconclusive: Whether the canary stays for a person's decision, or goes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    models_path: str = ""
    canary_replicas: int = Field(1, ge=1)
    ready_seconds: int = Field(900, ge=1)
    window_seconds: int = Field(300, ge=0)
    traffic_seconds: int = Field(1800, ge=0)
    min_requests: int = Field(1000, ge=1)
    max_error_increase: float = Field(0.01, ge=0, le=1)
    max_p99_ratio: float = Field(2.0, gt=0)
    golden_tolerance: float = Field(1e-5, ge=0)
    on_inconclusive: Literal["hold", "rollback"] = "hold"
