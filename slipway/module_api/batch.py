"""`batch_prediction` of `module.yaml`: how a table is predicted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from slipway.module_api.base import Strict


class BatchPrediction(Strict):
    """How the rows of a table are predicted; the options of `slipway predict --batch` come before these.

    `to` is a folder, a file that ends in .parquet or .csv, or `bq://project.dataset.table`. In it, {SPAN} stands for
    the newest span of the data, and {RUN} for the name of the run, so that each run of a schedule writes another one.
    The version is that of a number, else the newest of a stage.
    """

    to: str = ""
    stage: Literal["stable", "canary", "candidate"] = "stable"
    version: int | None = None
    columns: str = Field("all", description="kept beside the answers: all, keys (what is no input), or a,b,c")
    format: Literal["parquet", "csv"] | None = Field(None, description="of a folder; parquet by default")
    shards: int = Field(1, ge=1, le=500, description="tasks on a cluster, each of which predicts its share")
