"""Builds and finds images: the image of a checkout, and the layers on it that hold what modules require."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from delivery.plan.fingerprints import Builder, layer_tag
from delivery.registry import ImageRegistry
from slipway.errors import DeliveryError
from slipway.module_kit.requirements import LOCK, digest_lock


def build_and_push(commands: Iterable[list[str]], folder: Path, registry: ImageRegistry, tag: str) -> str:
    """Runs a builder's commands in a folder; returns the image by digest.

    Raises:
        DeliveryError: the builder is not installed or fails, or the registry does not have the image afterwards.
    """
    for command in commands:
        if shutil.which(command[0]) is None:
            raise DeliveryError(f"{command[0]} is not installed; install it, or set delivery.builder")
        code = subprocess.run(command, cwd=folder, check=False).returncode
        if code:
            raise DeliveryError(f"`{' '.join(command)}` ended with {code}; its output is above")
    built = registry.digest(tag)
    if built is None:
        raise DeliveryError(f"{registry.repository}:{tag} was pushed, but the registry does not have it; run it again")
    return built


def image_of(module: Path, image: str) -> str:
    """The image of a module's steps: the image itself, or the layer on it if the module has a lock; none without one.

    Raises:
        DeliveryError: the layer was not built, or the registry does not answer.
    """
    if not (image and (module / LOCK).is_file()):
        return image
    registry, tag = _place(module, image)
    found = registry.digest(tag)
    if found is None:
        raise DeliveryError(
            f"{registry.repository} has no image with {module / LOCK} on {image}; `slipway deploy` builds it, or "
            f"`slipway module image {module.resolve().name}`"
        )
    return found


def build_layer(module: Path, image: str, builder: Builder, project: Path) -> tuple[str, bool]:
    """Builds the layer of a module with a lock, unless it is there; returns it, and whether it was built now."""
    registry, tag = _place(module, image)
    if found := registry.digest(tag):
        return found, False
    reference = f"{registry.repository}:{tag}"
    with TemporaryDirectory(prefix="slipway-layer-") as context:
        shutil.copy(project / "image" / "module.Dockerfile", Path(context, "Dockerfile"))
        shutil.copy(project / "requirements-uv.lock", context)
        shutil.copy(module / LOCK, context)
        return build_and_push(builder.layer_commands(reference, image), Path(context), registry, tag), True


def _place(module: Path, image: str) -> tuple[ImageRegistry, str]:
    """Where a module's layer is: beside the image, with a tag."""
    repository = re.sub(r":[^/]+$", "", image.partition("@")[0])  # an image by digest may have a tag, too
    return ImageRegistry(repository), layer_tag(image, digest_lock((module / LOCK).read_bytes()))
