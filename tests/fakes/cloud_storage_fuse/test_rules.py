"""Both stand-ins for a bucket refuse what Cloud Storage FUSE refuses, and nothing else that steps do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tests.fakes.cloud_storage_fuse as bucket_stand_in

PROGRAM = """
import errno, os, sys
from pathlib import Path

bucket = Path(sys.argv[1])
(bucket / "full").mkdir()
(bucket / "full" / "file").write_text("one")
try:
    os.rename(bucket / "full", bucket / "other")
except OSError as error:
    assert error.errno == errno.EMFILE, error
else:
    raise AssertionError("the folder was renamed")
(bucket / "full" / "file").replace(bucket / "file")
(bucket / "full").rename(bucket / "empty")
with (bucket / "file").open("a") as file:
    file.write(", two")
assert (bucket / "file").read_text() == "one, two"
"""


@pytest.mark.parametrize("by_fuse", [True, False], ids=["FUSE", "preloaded library"])
def test_bucket_renames_files_and_empty_folders_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_fuse: bool
) -> None:
    if by_fuse and not bucket_stand_in._has_fuse():
        pytest.skip("FUSE cannot be used here: libfuse is missing, or the right to mount")
    monkeypatch.setattr(bucket_stand_in, "_has_fuse", lambda: by_fuse)
    with bucket_stand_in.mounted_bucket(tmp_path) as bucket:
        assert bucket.is_mount() is by_fuse
        subprocess.run([sys.executable, "-c", PROGRAM, str(bucket)], check=True)
