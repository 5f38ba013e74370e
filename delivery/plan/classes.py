"""Which class a tracked path belongs to, and so what a change of it makes necessary.

ARCHITECTURE.md has this table with what follows from each class. Tests hold the two together, and the image's part and
the Dockerfile's COPY list.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

PathClass = Literal["image", "module", "feature", "pipeline", "manifest", "settings", "none"]

# Patterns, in which `*` stands for any characters, slashes too. The first match counts. A path that none matches is the
# image's: a build too many is better than one too few.
RULES: tuple[tuple[PathClass, tuple[str, ...]], ...] = (
    ("none", ("modules/__init__.py",)),
    ("module", ("modules/*/*",)),
    ("none", ("*.md",)),
    ("feature", ("features/*",)),
    ("settings", ("settings/*.yaml",)),
    ("manifest", ("manifests/*",)),
    ("pipeline", ("pipelines/*",)),
    ("image", ("cli/*", "components/*", "console/*", "delivery/*", "serving/*", "settings/*", "slipway/*")),
    (
        "image",
        (
            "image/modules/*",
            "image/settings/*",
            "image/requirements*.lock",
            "image/module.Dockerfile",
            "image/entrypoint.sh",
        ),
    ),
    ("image", ("requirements-uv.lock",)),
    ("image", ("Dockerfile", ".dockerignore")),
    ("none", ("image/*", "requirements*.lock", "pyproject.toml")),
    ("none", ("tests/*", "benchmarks/*", "docs/*", "infrastructure/*")),
    ("none", (".github/*", ".ci/*", "cloudbuild.yaml", "Makefile")),
    ("none", ("LICENSE", ".gitignore", ".gcloudignore", ".yamllint*")),
)

# The pipeline's definition travels in the image too: `slipway compile` and `slipway run` work inside it.
IN_IMAGE: frozenset[PathClass] = frozenset({"image", "pipeline"})


@cache
def match(path: str) -> PathClass | None:
    """The class that the rules name for a path, relative to the project."""
    return next((kind for kind, patterns in RULES if any(fnmatchcase(path, pattern) for pattern in patterns)), None)


def classify(path: str) -> PathClass:
    """The class of a path."""
    return match(path) or "image"
