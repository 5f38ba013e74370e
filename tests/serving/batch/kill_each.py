"""Runs a job that is killed right after each new file that it writes, again and again until it ends.

As a program, for it forks before TensorFlow is loaded: `python -m tests.serving.batch.kill_each HOME DATA TO`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from serving.batch import units
from slipway.remote.google import GoogleObjects
from slipway.remote.s3 import S3Objects
from slipway.stores import storage
from tests.batch_jobs import Batch


def in_a_child(work: Callable[[], object]) -> int:
    """Its exit status. The parent itself asks no store: the threads of obstore do not survive a fork."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at_a_new_file(work: Callable[[], object]) -> bool:
    """Does the work in a child that dies by SIGKILL after its first new file; returns whether it died."""

    def die() -> None:
        def deadly(write: Callable[..., Any], exists: Callable[..., bool]) -> Callable[..., Any]:
            def written(*arguments: Any, **options: Any) -> Any:
                there = exists(*arguments)
                answer = write(*arguments, **options)
                if not there:
                    os.kill(os.getpid(), signal.SIGKILL)
                return answer

            return written

        with (
            mock.patch.object(os, "link", deadly(os.link, lambda _, target: target.exists())),
            mock.patch.object(Path, "replace", deadly(Path.replace, lambda _, target: target.exists())),
            ExitStack() as patched,
        ):
            for kind in (GoogleObjects, S3Objects):
                put = deadly(kind.put, lambda one, name, *_: bool(one.find(name)))
                create = deadly(kind.create, lambda one, _, name: bool(one.find(name)))
                patched.enter_context(mock.patch.object(kind, "put", put))
                patched.enter_context(mock.patch.object(kind, "create", create))
            work()

    status = in_a_child(die)
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"the job ended with {status}")
    return status != 0


def main() -> None:
    """Prints the files that are there after each kill."""
    home, data, to = sys.argv[1:]
    units.UNIT_ROWS = 150
    path, question, query = to.partition("?")
    folder = f"{path.rpartition('/')[0]}{question}{query}"
    while killed_at_a_new_file(lambda: Batch(home).run(data, to)):
        in_a_child(lambda: print("killed:", *(one.name for one in storage.list_files(folder)), flush=True))


if __name__ == "__main__":
    main()
