"""What a module's code needs beyond the image: `requirements` of module.yaml, and their lock."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from slipway.errors import ModuleError
from slipway.stores.storage import write_text

LOCK = "requirements.lock"
# What the project itself is locked to; the image has the same versions.
PROJECT_LOCK = "requirements.lock"
# Debian 12, which the image is of. It has no compiler.
_IMAGE_PLATFORM = "x86_64-manylinux_2_36"
_MADE_FROM = "# `slipway module lock` made this file. Requirements: "


def lock_requirements(folder: Path, requirements: Iterable[str], project: Path) -> str:
    """Writes a module's lock, in which the packages of the project keep their versions; returns what was done.

    Raises:
        ModuleError: uv is missing, or the image cannot hold the requirements; uv's message names what excludes each
            other, or has no wheel.
    """
    path = folder / LOCK
    if not requirements:
        path.unlink(missing_ok=True)
        return f"{folder.name}: module.yaml lists no requirements, so there is no {LOCK}"
    # TensorFlow is in the image under the name tensorflow-cpu, and libclang only builds it.
    resolve = ("--generate-hashes", "--universal", "--constraint", PROJECT_LOCK, "--no-emit-package", "tensorflow")
    excludes = ("--excludes", "image/exclude-tensorflow.txt")
    try:
        pins = _compile("\n".join(requirements), project, *resolve, *excludes)
        held = _versions(project / PROJECT_LOCK)
        new = [str(pin) for pin in _pins(pins) if canonicalize_name(pin.name) not in held]
        _compile("\n".join(new), project, "--no-deps", "--only-binary", ":all:", "--python-platform", _IMAGE_PLATFORM)
    except subprocess.CalledProcessError as error:
        raise ModuleError(
            f"{folder}/module.yaml: the image cannot hold the requirements, beside the versions of "
            f"{project / PROJECT_LOCK} and without building from source:\n{error.stderr.strip()}"
        ) from error
    write_text(str(path), f"{_made_from(requirements)}\n{pins}")
    return f"{folder.name}: {path} lists packages: {len(_pins(pins))}; not in the image: {len(new)}"


def _compile(requirements: str, project: Path, *options: str) -> str:
    """What uv resolves requirements to, without its comments."""
    command = [_uv(), "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--python-version", "3.11"]
    try:
        done = subprocess.run(
            [*command, *options], input=requirements, cwd=project, capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise ModuleError(f"{command[0]} is not installed; `make .venv/.uv` in a checkout installs it") from error
    return "".join(f"{line}\n" for line in done.stdout.splitlines() if not line.startswith("#"))


def digest_lock(lock: bytes) -> str:
    """The digest of what a lock holds; a comment changes nothing."""
    pins = [line for line in lock.splitlines() if not line.startswith(b"#")]
    return hashlib.sha256(b"\n".join(pins)).hexdigest()


def check_lock(folder: Path, requirements: Iterable[str], files: Mapping[str, bytes]) -> list[str]:
    """Problems of a module's lock: it is missing, is of other requirements, or holds a package without a hash."""
    found = files.get(LOCK, b"").decode(errors="replace")
    if not requirements:
        return [f"{folder}/{LOCK}: module.yaml lists no requirements; list them there, or remove it"] if found else []
    fix = f"run `slipway module lock {folder.resolve().name}`, and commit the file"
    if not found:
        return [f"{folder}/{LOCK} is missing, and module.yaml lists requirements; {fix}"]
    if found.splitlines()[0] != _made_from(requirements):
        return [f"{folder}/{LOCK} is not of the requirements that module.yaml lists; {fix}"]
    try:
        loose = [str(pin) for pin in _pins(found) if [one.operator for one in pin.specifier] != ["=="]]
    except InvalidRequirement as error:
        return [f"{folder}/{LOCK} is not a lock: {error}; {fix}"]
    return [f"{folder}/{LOCK}: {one} names no version; {fix}" for one in loose]


def check_versions(folder: Path, project: Path) -> list[str]:
    """The packages of a module's lock that the project, and so the image, has in another version."""
    if not (folder / LOCK).is_file():
        return []
    own, held = _versions(folder / LOCK), _versions(project / PROJECT_LOCK)
    return [
        f"{folder}/{LOCK} has {name} {', '.join(sorted(own[name]))}, and the image {', '.join(sorted(held[name]))}; "
        f"run `slipway module lock {folder.resolve().name}`"
        for name in sorted(own.keys() & held.keys())
        if not own[name] <= held[name]
    ]


def missing(lock: bytes) -> list[str]:
    """The packages of a lock that are not installed here, or in another version."""
    found = []
    for pin in _pins(lock.decode(errors="replace")):
        if pin.marker is None or pin.marker.evaluate():
            try:
                installed = version(pin.name)
            except PackageNotFoundError:
                found.append(f"{pin.name}{pin.specifier}")
                continue
            if not pin.specifier.contains(installed, prereleases=True):
                found.append(f"{pin.name}{pin.specifier} (installed is {installed})")
    return found


def check_installed(folder: Path) -> list[str]:
    """A problem that names each package of a module's lock that is missing here, and the command that installs them."""
    lock = folder / LOCK
    if not lock.is_file() or not (absent := missing(lock.read_bytes())):
        return []
    install = f"{_uv()} pip install --python {sys.executable} --no-deps --require-hashes -r {lock}"
    return [f"{lock}: not installed here: {', '.join(absent)}; install them: {install}"]


def _made_from(requirements: Iterable[str]) -> str:
    return _MADE_FROM + ", ".join(requirements)


def _pins(lock: str) -> list[Requirement]:
    lines = (line.partition(" \\")[0].strip() for line in lock.splitlines() if line[:1].strip("# "))
    return [Requirement(line) for line in lines if line]


def _versions(lock: Path) -> dict[str, set[str]]:
    """Versions by name; several where they depend on the platform or on Python's version."""
    found: dict[str, set[str]] = {}
    for pin in _pins(lock.read_text(encoding="utf-8")):
        found.setdefault(canonicalize_name(pin.name), set()).update(one.version for one in pin.specifier)
    return found


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv") or "uv"
