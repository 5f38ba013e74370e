"""The environment that a commit is planned for, and how its image is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from delivery.plan.classes import classify
from delivery.registry import ImageRegistry
from slipway.lineage import DEFAULT_PIPELINE
from slipway.targets import RemoteTarget

OVERLAYS = "manifests/overlays/"
# An administrator applies these once, with rights that no deployment has.
ADMINISTRATION = "manifests/rollout-access/"


@dataclass(frozen=True)
class Builder:
    """How the image is built. `arguments` decide what is in it, and are part of its tag; `options` do not."""

    program: Literal["docker", "podman"] = "docker"
    arguments: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def build(self, reference: str, revision: str) -> list[str]:
        """The command that builds, in the project's folder."""
        # The revision is for the label; it is no part of the tag, or else each commit would be another image.
        arguments = {"GIT_REVISION": revision, **self.arguments}
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        return [self.program, "build", "--tag", reference, *given, *self.options, "."]

    def push(self, reference: str) -> list[str]:
        """The command that pushes what was built."""
        return [self.program, "push", reference]

    def digest(self, reference: str) -> list[str]:
        """The command that asks the registry for an image's digest; what is known locally may be another one."""
        if self.program == "podman":
            return ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{reference}"]
        return ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]


@dataclass(frozen=True)
class Place:
    """The settings of the environment that is planned for.

    Attributes:
        environment: Its name; None for base.yaml alone.
        overlay: Name of the overlay that it serves with; empty if it serves nowhere.
        target: Where runs are submitted.
        pipeline: Name of the pipeline that is submitted.
        registry: Where images are; None if the settings name no repository.
        image: The image by digest that the settings name; it counts where they name no repository.
        home: What runs on a cluster share; empty if the settings name none.
        builder: How images are built.
    """

    environment: str | None = None
    overlay: str = ""
    target: RemoteTarget = "kubeflow"
    pipeline: str = DEFAULT_PIPELINE
    registry: ImageRegistry | None = None
    image: str = ""
    home: str = ""
    builder: Builder = field(default_factory=Builder)

    def has_settings(self, path: str) -> bool:
        """Whether its settings are read from a path."""
        return classify(path) == "settings" and path in {"settings/base.yaml", f"settings/{self.environment}.yaml"}

    def has_overlay(self, path: str) -> bool:
        """Whether its overlay may be rendered from a path."""
        if not self.overlay or classify(path) != "manifest" or path.startswith(ADMINISTRATION):
            return False
        return not path.startswith(OVERLAYS) or path.startswith(f"{OVERLAYS}{self.overlay}/")
