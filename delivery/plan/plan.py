"""A plan as `slipway plan --json` prints it and `slipway deploy` reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

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


class Plan(BaseModel):
    """What a commit makes necessary in one environment.

    Attributes:
        environment: Of the settings; None for base.yaml alone.
        target: Where runs are submitted.
        pipeline: Name of the pipeline that is submitted for each module.
        head: The commit that is planned, in full.
        base: What it was compared with; None where there is nothing to compare with.
        image: Whether the image has to be built.
        image_tag: The hash of all that goes into the image.
        image_reference: `repository:tag`; empty without a repository in the settings.
        image_digest: `repository@sha256:…` of an image that is there already.
        modules: Modules to sync.
        pipelines: Modules for which the pipeline is compiled and submitted.
        manifests: Overlays to apply.
        schedules: Whether recurring runs have to be brought up to date.
        module_digests: Digest of every module at head.
        settings_digest: Of the settings files of this environment.
        manifests_digest: Of the files that its overlay may be rendered from.
        reasons: One for each thing that is done or left out.
        commands: What carries the plan out, in order; `slipway deploy` does the same.
        warnings: What to know before doing so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str | None
    target: Literal["kubeflow", "vertex"]
    pipeline: str = DEFAULT_PIPELINE
    head: str
    base: str | None
    image: bool = False
    image_tag: str
    image_reference: str
    image_digest: str
    modules: list[str] = []
    pipelines: list[str] = []
    manifests: list[str] = []
    schedules: bool = False
    module_digests: dict[str, str]
    settings_digest: str
    manifests_digest: str
    reasons: list[Reason] = []
    commands: list[str] = []
    warnings: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.image or self.modules or self.pipelines or self.manifests)

    def run_key(self, module: str) -> dict[str, str]:
        """All that decides what a run of a module does here; the data apart."""
        return {
            "image": self.image_tag,
            "module": self.module_digests[module],
            "settings": self.settings_digest,
            "target": self.target,
        }

    def overlay_key(self) -> dict[str, str]:
        """All that decides what the overlay makes."""
        return {"manifests": self.manifests_digest}


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
