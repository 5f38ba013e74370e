"""A plan as `slipway plan --json` prints it and `slipway deploy` reads it, with the commands that carry it out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from delivery.plan.fingerprints import Builder, Fingerprints
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


def commands_for(plan: Plan, builder: Builder) -> Iterator[str]:
    """Shell commands that carry a plan out, in order; `slipway deploy` does the same and records it."""
    place = f" --env {plan.environment}" if plan.environment else ""
    target = f" --target {plan.target}{place}"
    reference = plan.image_reference or f"REPOSITORY:{plan.image_tag}"
    if plan.image:
        yield shlex.join(builder.build(reference, plan.head))
        yield shlex.join(builder.push(reference))
    if plan.pipelines or plan.manifests:
        # The variable overrides `image` of the settings, for all commands that follow.
        repository, digest = reference.rpartition(":")[0], shlex.join(builder.digest(reference))
        yield f"SLIPWAY_IMAGE={plan.image_digest or f'{repository}@$({digest})'}"
        yield "export SLIPWAY_IMAGE"
    if plan.modules:
        yield f"slipway sync {shlex.join(plan.modules)}{place}"
    if plan.pipelines:
        package = f"{plan.pipeline}-{plan.target}.yaml"
        chosen = "" if plan.pipeline == DEFAULT_PIPELINE else f" --pipeline {plan.pipeline}"
        yield f"slipway compile{target}{chosen} --output {package}"
        yield from (f"slipway submit {module}{target}{chosen} --package {package}" for module in plan.pipelines)
    if plan.manifests:
        yield f"slipway rollout refresh{place}"
    if plan.schedules:
        yield f"slipway schedules apply{target}"
