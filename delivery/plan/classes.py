"""Which class a tracked path belongs to, and so what a change of it makes necessary.

The table is the documentation: ARCHITECTURE.md has it word for word, and a test holds the image's part of it and the
Dockerfile's COPY list together.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from typing import Literal, NamedTuple

PathClass = Literal["image", "module", "pipeline", "manifest", "settings", "none"]


class Rule(NamedTuple):
    """Paths and their class. In a pattern, `*` stands for any characters, slashes too."""

    pattern: str
    path_class: PathClass


# The first match wins. A path that none matches counts as the image's: a build too many is better than one too few.
RULES = (
    Rule("modules/__init__.py", "none"),
    Rule("modules/*/*", "module"),
    Rule("*.md", "none"),
    Rule("settings/*.yaml", "settings"),
    Rule("manifests/*", "manifest"),
    Rule("pipelines/*", "pipeline"),
    Rule("cli/*", "image"),
    Rule("components/*", "image"),
    Rule("delivery/*", "image"),
    Rule("serving/*", "image"),
    Rule("settings/*", "image"),
    Rule("slipway/*", "image"),
    Rule("image/modules/*", "image"),
    Rule("image/settings/*", "image"),
    Rule("image/requirements*.lock", "image"),
    Rule("requirements-uv.lock", "image"),
    Rule("Dockerfile", "image"),
    Rule(".dockerignore", "image"),
    Rule("image/*", "none"),
    Rule("requirements*.lock", "none"),
    Rule("pyproject.toml", "none"),
    Rule("tests/*", "none"),
    Rule("benchmarks/*", "none"),
    Rule("docs/*", "none"),
    Rule("infrastructure/*", "none"),
    Rule(".github/*", "none"),
    Rule(".ci/*", "none"),
    Rule("cloudbuild.yaml", "none"),
    Rule("Makefile", "none"),
    Rule("LICENSE", "none"),
    Rule(".gitignore", "none"),
    Rule(".gcloudignore", "none"),
    Rule(".yamllint*", "none"),
)

# The pipeline's definition travels in the image too: `slipway compile` and `slipway run` work inside it.
IN_IMAGE: frozenset[PathClass] = frozenset({"image", "pipeline"})

WHAT_FOLLOWS: dict[PathClass, str] = {
    "image": "build and push the image; compile and submit the pipeline for every module",
    "pipeline": "as for the image, of which it is a part",
    "module": "sync that module; compile and submit its pipeline",
    "settings": "compile and submit for every module: `base.yaml` everywhere, `<environment>.yaml` in that one only",
    "manifest": "apply the overlay: `overlays/<environment>/` in that one only, what overlays share everywhere",
    "none": "nothing",
}


@cache
def match(path: str) -> Rule | None:
    """The rule that a path falls under."""
    return next((rule for rule in RULES if fnmatchcase(path, rule.pattern)), None)


def classify(path: str) -> PathClass:
    """The class of a path, relative to the project."""
    rule = match(path)
    return rule.path_class if rule else "image"


def table() -> str:
    """What changes trigger what, as Markdown."""
    lines = ["| Class | Paths | A change of it |", "|---|---|---|"]
    for path_class, follows in WHAT_FOLLOWS.items():
        patterns = [f"`{rule.pattern}`" for rule in RULES if rule.path_class == path_class]
        patterns += ["what nothing else names"] * (path_class == "image")
        lines.append(f"| {path_class} | {', '.join(patterns)} | {follows} |")
    return "\n".join(lines) + "\n"
