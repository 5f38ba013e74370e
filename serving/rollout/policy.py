"""The policy of a rollout, set by `serving` in the settings: replicas of the canary, checks and limits."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RolloutPolicy(BaseModel):
    """The number of canary replicas, the checks that a canary has to pass, and the time for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models_path: str = Field("", description="the model store as pods see it: gs://… or a mount; empty: as it is here")
    canary_replicas: int = Field(1, ge=1, description="its share of the traffic is its share of all replicas")
    ready_seconds: int = Field(900, ge=1, description="for pods to become ready, the download of a model included")
    window_seconds: int = Field(300, ge=0, description="least time over which canary and stable are compared")
    traffic_seconds: int = Field(1800, ge=0, description="longest wait for `min_requests`")
    min_requests: int = Field(1000, ge=1, description="that both must have answered before they are compared")
    max_error_increase: float = Field(
        0.01, ge=0, le=1, description="of the canary's share of errors over stable's, clients' mistakes left out"
    )
    max_p99_ratio: float = Field(
        2.0, ge=1, description="of the canary's percentiles of latency to stable's, from the median to the 99th"
    )
    golden_tolerance: float = Field(
        1e-5, ge=0, description="relative above 1; another CPU or a GPU sums in another order"
    )
    on_inconclusive: Literal["hold", "rollback"] = Field("hold", description="after too little traffic")
