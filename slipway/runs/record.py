"""The record of one run, which `runs show`, `report` and `explain` read.

A run's directory, `<runs>/<run>/`:

- `steps.json`     written by the runner as the run goes: `StepsFile`
- `outcome.json`   written by admit_examples, and anew by the step that comes to a verdict, like push_model: `Outcome`
- `rollout.json`   written by rollout_model, where it rolled out: `RolloutOutcome`
- `last_step.json` written by confirm_rollout at its end, or by rollout_model if it fails: `LastStep`
- `tuning.json`    written by tune_model, as the search goes and at its end: `slipway.tuning.result.TuningRecord`
- `summary.json`   written by the exit handler, always, and at the end of a retry: `Summary`
- `notes.json`     tags and a note that people gave it
- `notified.txt`   the message that people were sent, so that the exit handler sends it once
- `logs/<step>.log`, `report.html`
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from slipway.lineage import Lineage, Verdict

RunState = Literal["running", "succeeded", "failed", "cancelled", "interrupted", "unknown"]
StepState = Literal["pending", "running", "succeeded", "failed", "skipped", "unknown"]

# Verdicts that are Slipway's own; the pipeline declares words for all but the first.
NO_VERDICT, BAD_DATA, REPEATED = "none", "bad-data", "repeated"


class Step(BaseModel):
    """One task of the pipeline.

    `outputs` maps names to URIs (artifacts) or values (parameters); `artifacts` leaves out what only a UI shows.
    """

    name: str
    state: StepState = "pending"
    started: float | None = Field(None, description="seconds since 1970, UTC")
    seconds: float | None = None
    cached: bool = False
    cpu_seconds: float | None = Field(None, description="of the step's process, all threads")
    peak_mib: float | None = Field(None, description="peak resident memory of the step's process")
    needs: list[str] = []
    outputs: dict[str, Any] = {}
    artifacts: dict[str, str] = {}
    log: str | None = None
    error: str | None = Field(None, description="last lines of the log of a failed step")


class RunContext(BaseModel):
    """The run as its own steps know it; its JSON text is what they take as `run`."""

    uri: str = Field(description="of the run's record")
    lineage: Lineage
    fields: dict[str, Any] = Field({}, description="values of the pipeline's fields when it was compiled")
    notifications: dict[str, Any] = Field({}, description="slipway.runs.notifications.config.Notifications")
    tracking: dict[str, Any] = Field({}, description="slipway.runs.tracking.config.Tracked")
    page: str = Field("", description="address of the run in the platform's UI")


class StepsFile(BaseModel):
    """The runner's own record. If its process is gone before `finished` is set, the run was interrupted."""

    lineage: Lineage
    pid: int
    pid_started: int | None = Field(None, description="`slipway.runs.process.start_time`, where it can be told")
    steps: list[Step]
    finished: float | None = None


class Rows(BaseModel):
    """Rows of one run's data."""

    read: int = 0
    quarantined: int = 0
    left_out: int = 0
    unlabelled: int = 0
    ungrouped: int = 0
    train: int = 0
    eval: int = 0

    @property
    def unused(self) -> str:
        """The rows that nobody learns from, in words."""
        others = self.left_out - self.unlabelled - self.ungrouped
        parts = (
            (self.unlabelled, "without a label"), (self.ungrouped, "without a group"), (others, "in neither split")
        )  # fmt: skip
        more = "".join(f", {count:,} {word}" for count, word in parts if count)
        return f"{self.quarantined:,} quarantined{more}"


class Outcome(BaseModel):
    """The verdict of a run, and the URIs of the artifacts that led to it. The pipeline declares its verdicts.

    Before a run comes to one, the verdict is `NO_VERDICT`.
    """

    verdict: str
    reasons: list[str]
    version: int | None = None
    path: str | None = None
    data_digest: str = ""
    schema_digest: str = ""
    artifacts: dict[str, str] = Field({}, description="artifact name to URI: examples, statistics, schema, …")


class RolloutOutcome(BaseModel):
    """The outcome of the rollout of the pushed version.

    `rolled-back`: the canary was judged worse, or did not start. `held`: too little traffic for a judgement. `failed`:
    the rollout itself failed. `ended`: rollbacks of older versions that it ended first, as their processes were dead.
    """

    verdict: Literal["promoted", "rolled-back", "held", "failed"]
    version: int
    reasons: list[str]
    ended: list[str] = []


class LastStep(BaseModel):
    """How the pipeline's last step ended. All other steps come before it, so the run succeeded if it did."""

    succeeded: bool


class Summary(BaseModel):
    """The whole run, as the exit handler saw it."""

    lineage: Lineage
    state: RunState
    failed_step: str | None = None
    error: str | None = None
    rows: Rows = Rows()
    metrics: dict[str, float | None] = {}
    verdict: str = NO_VERDICT
    reasons: list[str] = []
    pushed_version: int | None = None
    pushed_path: str | None = None
    baseline_version: int | None = None
    data_digest: str = ""
    statistics: str | None = Field(None, description="URI of the statistics artifact: the next run's drift baseline")
    artifacts: dict[str, str] = {}
    finished: float = 0.0

    @property
    def told(self) -> Verdict | None:
        """The verdict as the pipeline declares it; None if the run came to none."""
        if self.verdict == NO_VERDICT:
            return None
        plain = self.verdict + (" as version {version} of {module}" if self.pushed_version else "")
        verdict = self.lineage.shows.verdicts.get(self.verdict) or Verdict(text=plain, news=plain)

        def filled(text: str) -> str:
            return text.replace("{version}", str(self.pushed_version)).replace("{module}", self.lineage.module)

        return verdict.model_copy(update={"text": filled(verdict.text), "news": filled(verdict.news)})
