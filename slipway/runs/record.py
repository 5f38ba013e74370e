"""What one run left behind, as `runs show`, `report` and `explain` read it.

A run's directory, `<runs>/<run>/`:

- `steps.json`     written by the runner as the run goes: `StepsFile`
- `outcome.json`   written by push_model: `Outcome`
- `rollout.json`   written by rollout_model, where it rolled out: `RolloutOutcome`
- `last_step.json` written by rollout_model at its end: `LastStep`
- `summary.json`   written by the exit handler, always, and at the end of a retry: `Summary`
- `notified.txt`   the message that people were sent, so that the exit handler sends it once
- `logs/<step>.log`, `report.html`
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from slipway.targets import Target

RunState = Literal["running", "succeeded", "failed", "interrupted", "unknown"]
StepState = Literal["pending", "running", "succeeded", "failed", "skipped", "unknown"]
Verdict = Literal["pushed", "refused", "none"]


class Step(BaseModel):
    """One task of the pipeline; `outputs` maps output names to URIs (artifacts) or values (parameters)."""

    name: str
    state: StepState = "pending"
    started: float | None = Field(None, description="seconds since 1970, UTC")
    seconds: float | None = None
    cached: bool = False
    cpu_seconds: float | None = Field(None, description="of the step's process, all threads")
    peak_mib: float | None = Field(None, description="peak resident memory of the step's process")
    needs: list[str] = []
    outputs: dict[str, Any] = {}
    log: str | None = None
    error: str | None = Field(None, description="last lines of the log of a failed step")


class Lineage(BaseModel):
    """Where a run, and so a model, came from. Digests are SHA-256 in hex."""

    run: str
    module: str
    module_digest: str
    data_uri: str
    git_revision: str = "unknown"
    image: str = ""
    target: Target = "local"
    started: float = 0.0
    seed: int = 0


class StepsFile(BaseModel):
    """The runner's own record; its process tells an interrupted run from a running one."""

    lineage: Lineage
    pid: int
    pid_started: int | None = Field(None, description="`slipway.runs.process.start_time`, where it can be told")
    steps: list[Step]
    finished: float | None = None


class Rows(BaseModel):
    """Rows of one run's data."""

    read: int = 0
    quarantined: int = 0
    train: int = 0
    eval: int = 0


class Outcome(BaseModel):
    """What push_model decided, and the URIs of all artifacts that it stood on."""

    verdict: Literal["pushed", "refused"]
    reasons: list[str]
    version: int | None = None
    path: str | None = None
    data_digest: str = ""
    artifacts: dict[str, str] = Field({}, description="artifact name to URI: examples, statistics, schema, …")


class RolloutOutcome(BaseModel):
    """What became of the pushed version in the cluster.

    `rolled-back` was judged, or did not come up; `held` got too little traffic to be judged; with `failed` the rollout
    itself did not get through.
    """

    verdict: Literal["promoted", "rolled-back", "held", "failed"]
    version: int
    reasons: list[str]


class LastStep(BaseModel):
    """How the pipeline's last step ended. All others lead to it, so that where it went well the run did."""

    succeeded: bool


class Summary(BaseModel):
    """The whole run, as the exit handler saw it."""

    lineage: Lineage
    state: RunState
    failed_step: str | None = None
    error: str | None = None
    rows: Rows = Rows()
    metrics: dict[str, float | None] = {}
    verdict: Verdict = "none"
    reasons: list[str] = []
    pushed_version: int | None = None
    pushed_path: str | None = None
    baseline_version: int | None = None
    data_digest: str = ""
    statistics: str | None = Field(None, description="URI of the statistics artifact: the next run's drift baseline")
    artifacts: dict[str, str] = {}
    finished: float = 0.0
