"""All settings, with their types and defaults. No secrets: what is secret is named here and fetched elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Beam(_Strict):
    """Apache Beam's pipeline options, as on its command line: `--runner=DataflowRunner`, `--region=…`."""

    options: tuple[str, ...] = ("--runner=FnApiRunner",)


class Distribution(_Strict):
    """How training is spread, by `tf.distribute`."""

    strategy: Literal["one_device", "mirrored", "multi_worker"] = "one_device"


class Evaluation(_Strict):
    """`vectorised` holds predictions of the eval split in memory; `tfma` runs TFMA on Beam."""

    engine: Literal["vectorised", "tfma"] = "vectorised"


class Compute(_Strict):
    """What one task asks of the cluster, in Kubernetes' units."""

    cpu: str = "1"
    memory: str = "2Gi"
    retries: int = Field(0, ge=0, le=5)


class Settings(_Strict):
    """Everything that is decided outside a module.

    `home` holds all state of local runs, `modules` the modules; both are relative to the project. `image` is what
    tasks run in on a cluster, by digest. `compute` maps task names to what they ask for; `default` is for the others.
    """

    home: Path = Path(".slipway")
    modules: Path = Path("modules")
    image: str = ""
    beam: Beam = Beam()
    distribution: Distribution = Distribution()
    evaluation: Evaluation = Evaluation()
    compute: dict[str, Compute] = {}
