"""A FUSE file system that passes all through to a folder, but for what Cloud Storage FUSE cannot do.

Run as `python -m tests.fakes.cloud_storage_fuse.server FOLDER MOUNT`; it ends when it is unmounted. In a flat bucket:

- a folder with anything in it is not renamed: gcsfuse's `internal/fs/fs.go` answers EMFILE, "too many objects to be
  renamed", because `rename-dir-limit` is 0;
- there are no hard links: `fs.go` has no `CreateLink`, so the kernel is told ENOSYS;
- modes and owners stay as they are, without an error (`docs/semantics.md`, Permissions and ownership).
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import mfusepy


class CloudStorage(mfusepy.Operations):  # type: ignore[misc]  # mfusepy is not typed
    """The calls of FUSE below one folder."""

    use_ns = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def rename(self, old: str, new: str) -> int:
        source = self._of(old)
        if source.is_dir() and any(source.iterdir()):
            raise mfusepy.FuseOSError(errno.EMFILE)
        source.rename(self._of(new))
        return 0

    def link(self, target: str, source: str) -> int:
        raise mfusepy.FuseOSError(errno.ENOSYS)

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = self._of(path).lstat()
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
        times = {name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
        return {name: getattr(found, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(entry.name for entry in self._of(path).iterdir())]

    def mkdir(self, path: str, mode: int) -> int:
        self._of(path).mkdir()
        return 0

    def rmdir(self, path: str) -> int:
        self._of(path).rmdir()
        return 0

    def unlink(self, path: str) -> int:
        self._of(path).unlink()
        return 0

    def utimens(self, path: str, times: tuple[int, int]) -> int:
        os.utime(self._of(path), ns=times)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._of(path), length)
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._of(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)

    def open(self, path: str, flags: int) -> int:
        # The kernel gives each write its offset, also one that appends.
        return os.open(self._of(path), flags & ~os.O_APPEND)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def _of(self, path: str) -> Path:
        return self._root / path[1:]


if __name__ == "__main__":
    mfusepy.FUSE(CloudStorage(Path(sys.argv[1])), sys.argv[2], foreground=True, nothreads=True)
