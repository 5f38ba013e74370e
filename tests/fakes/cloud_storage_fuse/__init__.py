"""A folder that behaves like a bucket below `/gcs` on Vertex: see `server.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GCS = Path("/gcs")


@contextmanager
def mounted_bucket(folder: Path) -> Iterator[Path]:
    """`/gcs/<bucket>` (below the given folder where only root may make that), mounted by FUSE for a while.

    Where FUSE cannot be used, an ordinary folder in which processes started meanwhile cannot rename folders; where
    there is no C compiler for that either, the test is skipped.
    """
    gcs = GCS if os.access("/", os.W_OK) else folder / "gcs"
    bucket = gcs / f"slipway-test-{uuid.uuid4().hex[:8]}"
    bucket.mkdir(parents=True)
    try:
        with _mount(folder, bucket) if _has_fuse() else _refusing(folder, bucket):
            yield bucket
    finally:
        shutil.rmtree(bucket)
        if not any(gcs.iterdir()):
            gcs.rmdir()


def _has_fuse() -> bool:
    """Whether libfuse is installed and this user may mount."""
    try:
        import mfusepy  # noqa: F401
    except OSError:
        return False
    may_mount = os.geteuid() == 0 or shutil.which("fusermount3")
    return bool(may_mount) and os.access("/dev/fuse", os.R_OK | os.W_OK)


@contextmanager
def _mount(folder: Path, bucket: Path) -> Iterator[None]:
    behind = folder / "objects"
    behind.mkdir()
    server = subprocess.Popen([sys.executable, "-m", "tests.fakes.cloud_storage_fuse.server", str(behind), str(bucket)])
    try:
        until = time.monotonic() + 30
        while not bucket.is_mount():
            assert server.poll() is None, "the FUSE server ended: see what it printed above"
            assert time.monotonic() < until, f"nothing was mounted on {bucket} within 30 s"
            time.sleep(0.02)
        yield
    finally:
        unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
        subprocess.run([*unmount, str(bucket)], check=True)
        server.wait(30)


@contextmanager
def _refusing(folder: Path, bucket: Path) -> Iterator[None]:
    library = folder / "refuse_renames.so"
    if not (compiler := shutil.which("cc")):
        pytest.skip("neither FUSE (libfuse and the right to mount) nor a C compiler is here")
    source = Path(__file__).with_name("refuse_renames.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LD_PRELOAD", str(library))
        environment.setenv("REFUSE_RENAMES_BELOW", f"{bucket}/")
        yield
