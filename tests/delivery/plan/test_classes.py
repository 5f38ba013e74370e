"""The table of classes holds for this repository: all its paths, its Dockerfile, its documentation."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import get_args

import pytest

from delivery.plan.classes import IN_IMAGE, RULES, PathClass, classify, match
from delivery.plan.fingerprints import module_of
from settings.load import PROJECT


def tracked() -> list[str]:
    listed = subprocess.run(["git", "-C", str(PROJECT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.split("\0") if path]


@pytest.mark.parametrize(
    ("path", "path_class"),
    [
        ("slipway/module_store/loader.py", "image"),
        ("slipway/notes.md", "none"),
        ("settings/schema.py", "image"),
        ("settings/base.yaml", "settings"),
        ("image/settings/base.yaml", "image"),
        ("image/modules/taxi/model.py", "image"),
        ("image/cpu.in", "none"),
        ("modules/taxi/model.py", "module"),
        ("modules/taxi/README.md", "module"),
        ("modules/taxi/parts/layers.py", "module"),
        ("modules/__init__.py", "none"),
        ("modules/loose.py", "image"),
        ("pipelines/training.py", "pipeline"),
        ("manifests/README.md", "none"),
        ("manifests/base/service.yaml", "manifest"),
        ("docs/decisions/0001.md", "none"),
        ("something/new.py", "image"),
        ("new_file", "image"),
    ],
)
def test_classify_first_matching_rule_counts_and_the_unknown_is_the_images(path: str, path_class: str) -> None:
    assert classify(path) == path_class


@pytest.mark.parametrize("path", ["modules/taxi/.DS_Store", "modules/taxi/__pycache__/model.pyc", "modules/loose.py"])
def test_module_of_caches_and_loose_files_is_none(path: str) -> None:
    assert module_of(path) is None


def test_rules_name_every_path_of_this_repository() -> None:
    assert [path for path in tracked() if match(path) is None] == [], "add a rule to delivery/plan/classes.py"


def test_rules_hold_the_image_and_the_dockerfile_together() -> None:
    copied = set(copied_paths((PROJECT / "Dockerfile").read_text(), (PROJECT / ".dockerignore").read_text()))
    # These two decide what is built, and are not in it.
    in_image = {path for path in tracked() if classify(path) in IN_IMAGE} - {"Dockerfile", ".dockerignore"}
    assert copied - in_image == set(), "copied into the image, and the plan would not rebuild it"
    assert in_image - copied == set(), "the plan would rebuild the image, and nothing copies this into it"


def test_copied_paths_reads_what_a_dockerfile_takes_from_the_context() -> None:
    dockerfile = """
    FROM scratch AS one
    COPY --chown=1:1 LICENSE \\
        slipway/errors.py ./
    COPY --from=one /etc/passwd Makefile /etc/
    RUN --mount=type=bind,source=pyproject.toml,target=x --mount=type=cache,target=/y true
    COPY ["settings/*.py", "settings/"]
    COPY image/requirements-${ACCELERATOR}.lock ./
    """
    found = set(copied_paths(dockerfile, "**/load.py\n!settings/load.py\nslipway/__pycache__\nimage/*gpu*\n"))
    assert {path for path in found if not path.startswith("settings/")} == {
        "LICENSE",
        "slipway/errors.py",
        "pyproject.toml",
        "image/requirements-boot.lock",
        "image/requirements-cpu.lock",
    }
    assert {"settings/schema.py", "settings/load.py"} <= found


def test_rules_are_those_of_the_architecture() -> None:
    rows = [line.split("|")[1:3] for line in (PROJECT / "ARCHITECTURE.md").read_text().splitlines() if "|" in line]
    said = {name.strip(): re.findall(r"`([^`]+)`", paths) for name, paths in rows}
    for path_class in get_args(PathClass):
        patterns = [pattern for kind, patterns in RULES if kind == path_class for pattern in patterns]
        assert said[path_class] == patterns


def copied_paths(dockerfile: str, dockerignore: str) -> Iterator[str]:
    """Tracked paths that a Dockerfile's COPY, ADD and bind mounts take; a variable may have any value."""
    sources = [re.sub(r"\$\{?\w+\}?", "*", source).removesuffix("/") for source in _sources(dockerfile)]
    for path in tracked():
        names = [path, *map(str, PurePosixPath(path).parents)]
        if _is_sent(path, dockerignore) and any(_matches(name, source) for name in names for source in sources):
            yield path


def _sources(dockerfile: str) -> Iterator[str]:
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "RUN":
            for mount in re.findall(r"--mount=(\S+)", rest):
                fields = dict(field.partition("=")[::2] for field in mount.split(","))
                if fields.get("type") == "bind" and "from" not in fields:
                    yield fields.get("source", ".")
        if instruction not in {"COPY", "ADD"} or "--from=" in rest:
            continue
        words = [word for word in shlex.split(rest.replace(",", " ").strip("[] ")) if not word.startswith("--")]
        yield from words[:-1]


def _is_sent(path: str, dockerignore: str) -> bool:
    """Docker's rule: the last line that matches the path or a folder above it decides."""
    sent = True
    names = [path, *map(str, PurePosixPath(path).parents)]
    for line in dockerignore.splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").rstrip("/")
            if any(_matches(name, pattern) for name in names if name != "."):
                sent = line.startswith("!")
    return sent


def _matches(name: str, pattern: str) -> bool:
    """Whether a whole name matches; `*` stays within a folder, and a leading `**/` is any number of them."""
    if pattern.startswith("**/"):
        inside = pattern.removeprefix("**/")
        parts = name.split("/")
        return any(_matches("/".join(parts[start:]), inside) for start in range(len(parts)))
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
