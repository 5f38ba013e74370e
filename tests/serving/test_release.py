"""One place says which TensorFlow Serving serves; `python -m tests.serving.test_release` writes its operations."""

from __future__ import annotations

import ctypes
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2

from serving.release import IMAGE, OPS_FILE, VERSION, read_release
from serving.runtime.c_api import Buffer
from slipway.stand_in import package_folder

ROOT = Path(__file__).parents[2]
HISTORY = ("CHANGELOG.md", "docs/decisions/")


def operations_of_the_installed_tensorflow() -> str:
    """The content of `release_ops.txt`, from the C library of the wheel: without what Python packages register."""
    library = ctypes.CDLL(f"{package_folder('tensorflow')}/libtensorflow_cc.so.2")
    library.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
    found = library.TF_GetAllOpList().contents
    registered = op_def_pb2.OpList.FromString(ctypes.string_at(found.data, found.length)).op
    lines = sorted(
        " ".join([each.name, *(attribute.name for attribute in each.attr)])
        for each in registered
        if not each.name.startswith("_")
    )
    head = f"# TensorFlow {version('tensorflow')}, graphs of version {tf.version.GRAPH_DEF_VERSION}"
    return "\n".join([head, *lines, ""])


def test_operations_are_those_of_the_release_that_serves() -> None:
    release = read_release()

    assert release.version == VERSION
    assert len(release.operations) > 1000
    if version("tensorflow") == VERSION:
        assert OPS_FILE.read_text() == operations_of_the_installed_tensorflow()


def test_server_is_of_the_tensorflow_that_trains() -> None:
    minor = VERSION.rpartition(".")[0]

    assert version("tensorflow").rpartition(".")[0] == minor
    for name in ("pyproject.toml", "image/cpu.in", "image/gpu.in"):
        pins = re.findall(r"tensorflow(?:-cpu|\[and-cuda\])?>=([\d.]+)", (ROOT / name).read_text())
        assert pins == [minor], name


def test_no_second_place_names_another_release() -> None:
    tracked = subprocess.run(
        ["git", "grep", "-IohE", r"tensorflow/serving:[0-9][0-9.]*", "--", ".",
         *(f":!{each}" for each in HISTORY)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip

    assert len(tracked) >= 4
    assert set(tracked) == {IMAGE}


if __name__ == "__main__":
    OPS_FILE.write_text(operations_of_the_installed_tensorflow())
