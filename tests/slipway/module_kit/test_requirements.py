"""Requirements of a module: the check of its lock, and what is installed here."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from settings.load import PROJECT
from slipway.errors import ModuleError
from slipway.module_kit.check import check_module
from slipway.module_kit.requirements import LOCK, check_installed, check_versions, lock_requirements
from tests.tiny_module import CONFIG

HEADER = "# `slipway module lock` made this file. Requirements: numpy>=2\n"
HASH = " \\\n    --hash=sha256:" + "0" * 64 + "\n"


def lock(module: Path, *pins: str, header: str = HEADER) -> None:
    (module / "module.yaml").write_text(f"{CONFIG}requirements: [numpy>=2]\n")
    (module / LOCK).write_text(header + "".join(pin + HASH for pin in pins))


def test_lock_of_what_is_installed_is_right(module: Path) -> None:
    lock(module, f"numpy=={version('numpy')}", "colorama==0.1 ; sys_platform == 'win32'")
    assert check_module(module).requirements == ("numpy>=2",)
    assert check_installed(module) == []


def test_missing_and_other_versions_are_named_with_the_command(module: Path) -> None:
    lock(module, "numpy==2.0.0", "absent-package==1.5")
    (module / "model.py").write_text(
        "import absent_package\n\ndef build_model(features, hyperparameters):\n    return 1\n"
    )
    check_module(module)  # what cannot be told from here is no fault of the module
    [problem] = check_installed(module)
    assert "absent-package==1.5" in problem
    assert f"numpy==2.0.0 (installed is {version('numpy')})" in problem
    assert f"--require-hashes -r {module / LOCK}" in problem


@pytest.mark.parametrize("header", ["", "# `slipway module lock` made this file. Requirements: numpy\n"])
def test_lock_of_other_requirements_is_refused(module: Path, header: str) -> None:
    lock(module, "numpy==2.0.0", header=header)
    with pytest.raises(ModuleError, match=r"not of the requirements .*slipway module lock tiny"):
        check_module(module)


def test_requirements_without_a_lock_and_a_lock_without_requirements_are_refused(module: Path) -> None:
    lock(module)
    (module / LOCK).unlink()
    with pytest.raises(ModuleError, match=r"requirements\.lock is missing"):
        check_module(module)
    (module / LOCK).write_text(HEADER)
    (module / "module.yaml").write_text(CONFIG)
    with pytest.raises(ModuleError, match="lists no requirements"):
        check_module(module)


@pytest.mark.parametrize("text", ["numpy >", "numpy @ https://example.com/numpy.whl"])
def test_requirement_that_no_lock_can_hold_is_refused_with_its_value(module: Path, text: str) -> None:
    (module / "module.yaml").write_text(f"{CONFIG}requirements: ['{text}']\n")
    with pytest.raises(ModuleError, match=f"{text}.*write name>=1.2"):
        check_module(module)


def test_lock_that_would_change_a_version_of_the_image_is_named(module: Path, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(f"numpy==2.4.6{HASH}")
    lock(module, "numpy==2.0.0", "lightgbm==4.6.0")
    [problem] = check_versions(module, tmp_path)
    assert all(word in problem for word in ("numpy", "2.0.0", "2.4.6"))


@pytest.fixture
def _index() -> None:
    """Skips where uv reaches no index."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "-", "--quiet"]
    try:
        subprocess.run(command, input="iniconfig", text=True, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs uv and an index")


@pytest.mark.slow  # it needs the network
@pytest.mark.usefixtures("_index")
def test_lock_is_made_by_uv_with_hashes_and_the_versions_of_the_project(module: Path) -> None:
    (module / "module.yaml").write_text(f"{CONFIG}requirements: [iniconfig>=2, numpy]\n")
    said = lock_requirements(module, ("iniconfig>=2", "numpy"), PROJECT)
    assert "not in the image: 1" in said
    text = (module / LOCK).read_text()
    assert f"\nnumpy=={version('numpy')} " in text
    assert all(one.count("--hash=sha256:") for one in text.split("\n")[1:] if "==" not in one and one)
    check_module(module)
    assert check_versions(module, PROJECT) == []
    (module / "module.yaml").write_text(CONFIG)
    lock_requirements(module, (), PROJECT)
    assert not (module / LOCK).exists()


@pytest.mark.slow  # it needs the network
@pytest.mark.usefixtures("_index")
@pytest.mark.parametrize(
    ("requirement", "named"),
    [
        ("numpy==1.26.0", ("numpy==1.26.0", f"numpy=={version('numpy')}")),
        ("docopt==0.6.2", ("docopt", "no usable wheels")),
    ],
)
def test_lock_that_the_image_cannot_hold_is_refused_with_what_is_in_the_way(
    module: Path, requirement: str, named: tuple[str, str]
) -> None:
    with pytest.raises(ModuleError) as refused:
        lock_requirements(module, (requirement,), PROJECT)
    assert all(word in str(refused.value) for word in (*named, "requirements.lock"))
    assert not (module / LOCK).exists()
