"""The Dockerfile, the locks of the image, and what it may leave out."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from settings.load import PROJECT, load_settings
from slipway.module_kit.check import check_module

DOCKERFILE = PROJECT / "Dockerfile"
ROOMS = ("cli", "components", "console", "delivery", "pipelines", "serving", "settings", "slipway")
# Imports of what the image leaves out, with the reason why that is no harm.
LEFT_OUT = {"google-cloud-aiplatform": "a run is submitted to Vertex from a checkout"}


def locked(path: str) -> dict[str, str]:
    """Names and versions of a lock; a package that depends on Python's version has its first."""
    text = (PROJECT / path).read_text()
    return dict(reversed(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE)))


@pytest.mark.parametrize("path", [DOCKERFILE, PROJECT / "image" / "module.Dockerfile"], ids=lambda path: path.name)
def test_dockerfile_passes_hadolint(path: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_dockerfile_starts_from_a_digest_and_ends_without_root() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"^FROM \S+@sha256:[0-9a-f]{64} AS base$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {text.split("\nFROM ")[1].split()[0], "base"}
    runtime = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", runtime, re.MULTILINE) == ["10001"]
    assert re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE) == ['["/app/image/entrypoint.sh"]']


@pytest.mark.parametrize(
    ("given", "started"),
    [
        (["slipway", "--help"], "slipway --help"),
        (["sh", "-c", "python3 -m components.executor"], "sh -c python3 -m components.executor"),
        (["--id=1", "--provision_endpoint=host:1"], "boot in an empty folder --id=1 --provision_endpoint=host:1"),
        (["--worker_pool"], "boot in an empty folder --worker_pool"),
    ],
)
def test_entry_point_starts_a_worker_by_flags_and_else_what_it_is_given(
    tmp_path: Path, given: list[str], started: str
) -> None:
    text = (PROJECT / "image" / "entrypoint.sh").read_text()
    assert "/opt/apache/beam/boot" in text
    for name in ("slipway", "sh", "boot"):
        folder = '$([ -z "$(ls -A)" ] && touch x && echo " in an empty folder")' if name == "boot" else ""
        (tmp_path / name).write_text(f'#!/bin/bash\necho "$(basename "$0"){folder} $*"\n')
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "entrypoint.sh"
    script.write_text(text.replace("/opt/apache/beam/boot", str(tmp_path / "boot")).replace("#!/bin/sh", "#!/bin/bash"))
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/bash", script, *given], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == started


def test_dockerfile_keeps_pip_which_beams_boot_program_asks_for_beam() -> None:
    """Without it: "failed to install required packages: Apache Beam is not installed in the runtime environment"."""
    text = DOCKERFILE.read_text()
    assert "--without-pip" not in text
    assert "/opt/venv/bin/python -m pip --quiet show apache-beam" in text


def test_dockerfile_installs_only_what_has_a_hash() -> None:
    installs = re.findall(r"pip install .*?(?=&&|\nENV|\nRUN|\n\n|#)", DOCKERFILE.read_text(), re.DOTALL)
    assert len(installs) == 3
    assert all("--require-hashes" in each for each in installs)


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_locks_of_the_image_have_the_versions_of_the_project(accelerator: str) -> None:
    project = locked("requirements.lock")
    image = locked("image/requirements.lock") | locked(f"image/requirements-{accelerator}.lock")
    tensorflow = image.pop("tensorflow-cpu" if accelerator == "cpu" else "tensorflow")
    assert tensorflow == project["tensorflow"]
    other = {name: version for name, version in image.items() if project.get(name, version) != version}
    assert other == {}, "make lock resolves them anew"
    beside = {name for name in image if name not in project and not name.startswith("nvidia-")}
    assert beside <= {"wheel"}, "the image has a package that the project does not"


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_image_leaves_out_only_what_is_written_down(accelerator: str) -> None:
    project = locked("requirements.lock")
    image = locked("image/requirements.lock") | locked(f"image/requirements-{accelerator}.lock")
    excluded = (PROJECT / "image" / "exclude.txt").read_text().split("\n")
    assert not set(image) & {name for name in excluded if name != "tensorflow"}
    assert set(excluded) >= set(LEFT_OUT)
    assert len(project) - len(image) > 30


EXTRAS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_image_has_all_that_the_rooms_import() -> None:
    image = (
        locked("image/requirements.lock")
        | locked("image/requirements-cpu.lock")
        | locked("image/requirements-gpu.lock")
    )
    owners = packages_distributions()
    missing: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in (PROJECT / room).rglob("*.py"):
            for name in imports(path):
                having = owning(name, owners)
                if having and not having & (set(image) | set(LEFT_OUT)):
                    missing[name] = having
    assert missing == {}, "add the package to the dependencies in pyproject.toml, and run make lock"


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, early or late."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return found


def owning(name: str, owners: Mapping[str, list[str]]) -> set[str]:
    """The distributions that may hold a module; none for Python's own, the project's, and the extras."""
    top = name.partition(".")[0]
    if top in EXTRAS:
        return set()
    # `_typeshed` is there for type checkers only.
    if top in {*sys.stdlib_module_names, *ROOMS, "modules", "_typeshed"}:
        return set()
    if top == "google":
        return {"google-cloud-aiplatform"} if name.startswith("google.cloud.aiplatform") else set()
    assert top in owners or importlib.util.find_spec(top), f"{name} is not installed"
    return {owner.lower().replace("_", "-") for owner in owners.get(top, [top])}


def test_image_brings_a_module_that_keeps_the_contract() -> None:
    config = check_module(PROJECT / "image" / "modules" / "taxi")
    assert config.data is None, "its sample is made by sample.py"


def test_settings_of_the_image_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settings.load.FOLDER", PROJECT / "image" / "settings")
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    assert load_settings().beam.runner == "in_process"
