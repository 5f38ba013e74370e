"""The commands that carry a plan out, for people to read and to run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from slipway.lineage import DEFAULT_PIPELINE

if TYPE_CHECKING:
    from delivery.plan.plan import Plan


@dataclass(frozen=True)
class Builder:
    """How the image is built. `arguments` decide what is in it, and are part of its tag; `options` do not."""

    program: Literal["docker", "podman"] = "docker"
    arguments: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def build(self, reference: str, revision: str) -> list[str]:
        """The command that builds, in the project's folder."""
        command = [self.program, "build", "--tag", reference]
        # For the label; it is no part of the tag, or else each commit would be another image.
        command += ["--build-arg", f"GIT_REVISION={revision}"]
        for name, value in self.arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        return [*command, *self.options, "."]

    def push(self, reference: str) -> list[str]:
        """The command that pushes what was built."""
        return [self.program, "push", reference]

    def digest(self, reference: str) -> list[str]:
        """The command that asks the registry for an image's digest; what is known locally may be another one."""
        if self.program == "podman":
            return ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{reference}"]
        return ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]


def commands_for(plan: Plan, builder: Builder) -> list[str]:
    """Shell commands, in order; `slipway deploy` does the same and records it."""
    return list(_commands(plan, builder))


def _commands(plan: Plan, builder: Builder) -> Iterator[str]:
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
