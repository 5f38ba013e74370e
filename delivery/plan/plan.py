"""A plan as `slipway plan --json` prints it and `slipway deploy` reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from delivery.plan.fingerprints import Fingerprints
from slipway.errors import ConfigError
from slipway.lineage import DEFAULT_PIPELINE

Action = Literal["build", "sync", "submit", "apply", "none"]


class Reason(BaseModel):
    """Why something is done, or is not: `subject` is what it is about, `paths` what changed since the base."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str
    action: Action
    why: str
    paths: list[str] = []

    @property
    def about(self) -> str:
        """The name in the subject: of the module, or of the overlay."""
        return self.subject.partition(" ")[2]


class Plan(Fingerprints):
    """What a commit makes necessary in one environment, and the commit's fingerprints.

    Attributes:
        environment: Of the settings; None for base.yaml alone.
        pipeline: Name of the pipeline that is submitted for each module.
        head: The commit that is planned, in full.
        base: What it was compared with; None where there is nothing to compare with.
        image: Whether the image has to be built.
        image_reference: `repository:tag`; empty without a repository in the settings.
        image_digest: `repository@sha256:…` of an image that is there already.
        modules: Modules to sync.
        pipelines: Modules for which the pipeline is compiled and submitted.
        manifests: Overlays to apply.
        schedules: Whether recurring runs have to be brought up to date.
        reasons: One for each thing that is done or left out.
        commands: What carries the plan out, in order; `slipway deploy` does the same.
        warnings: What to know before doing so.
    """

    environment: str | None
    pipeline: str = DEFAULT_PIPELINE
    head: str
    base: str | None
    image: bool
    image_reference: str
    image_digest: str
    modules: list[str]
    pipelines: list[str]
    manifests: list[str]
    schedules: bool
    reasons: list[Reason]
    commands: list[str]
    warnings: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.image or self.modules or self.pipelines or self.manifests)


def parse_plan(text: str, source: str) -> Plan:
    """A plan from its JSON.

    Raises:
        ConfigError: it is none.
    """
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise ConfigError(
            f"{source} is no plan: {where}: {problem['msg']}; `slipway plan --json` of this revision writes one"
        ) from error
