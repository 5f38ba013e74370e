"""Renders an overlay with kustomize, on a laptop or in CI. The rest is in serving/manifests.py."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from serving.manifests import BY_DIGEST, Object, containers
from slipway.errors import ConfigError

# The project's own image, in the components request-logger and predict-page.
_OWN_IMAGE = "slipway@"


def render_overlay(overlay: Path, image: str = "") -> list[Object]:
    """Objects of an overlay, in the order in which they may be applied.

    Args:
        overlay: A folder with a kustomization.yaml.
        image: The project's own image by digest, for overlays that log requests or have the page.

    Raises:
        ConfigError: neither kustomize nor kubectl is installed, the overlay cannot be built, or `image` has no digest.
    """
    require_digest(image)
    kustomize, kubectl = shutil.which("kustomize"), shutil.which("kubectl")
    if not (kustomize or kubectl):
        raise ConfigError(
            "an overlay is rendered by kustomize, and neither kustomize nor kubectl is on the PATH; install one of them"
        )
    command = [kustomize, "build", str(overlay)] if kustomize else [str(kubectl), "kustomize", str(overlay)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{' '.join(command)} took longer than 60 s; an overlay must not name remote bases"
        ) from error
    if done.returncode:
        raise ConfigError(f"{' '.join(command)} failed; fix the overlay:\n{done.stderr.strip()}")
    objects = [rendered for rendered in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if rendered]
    for container in containers(objects):
        if image and container["image"].startswith(_OWN_IMAGE):
            container["image"] = image
    return objects


def require_digest(image: str) -> None:
    """Refuses an image that is named by a tag.

    Raises:
        ConfigError: `image` has no digest.
    """
    if image and not BY_DIGEST.fullmatch(image):
        raise ConfigError(f"the image {image!r} is not named by digest; give REPOSITORY@sha256:…, since a tag can move")


def overlay_namespace(overlay: Path) -> str:
    """The namespace that an overlay's kustomization.yaml sets, or one that it takes in; needs no kustomize."""
    file = overlay / "kustomization.yaml"
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}; serving.overlay names its folder") from error
    if namespace := content.get("namespace"):
        return str(namespace)
    folders = [overlay / each for each in content.get("resources", []) if (overlay / each).is_dir()]
    found = {overlay_namespace(folder) for folder in folders} - {""}
    return found.pop() if len(found) == 1 else ""
