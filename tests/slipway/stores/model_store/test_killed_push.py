"""Pushes to a bucket by processes: killed before each object that they write, and two at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.stores.model_store.remote import RemoteModelStore
from tests.fakes.fault_proxy import FaultProxy

PUSH = """
import os, signal, sys
from pathlib import Path
from slipway.remote.google import GoogleObjects
from slipway.remote.s3 import S3Objects
from slipway.stores.model_store.remote import RemoteModelStore
from tests.model_files import provenance, write_model

uri, folder, seeds, left = sys.argv[1], Path(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])

def counted(function):
    def call(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

def one_by_one(upload):
    return lambda self, files: [upload(self, [file]) for file in files] and None

for kind in (GoogleObjects, S3Objects):
    kind.put = counted(kind.put)
    kind.upload = one_by_one(counted(kind.upload))
for seed in seeds:
    RemoteModelStore(uri, lambda: 50.0).push(write_model(folder / f"model-{seed}", int(seed)), provenance())
"""


def push(uri: str, folder: Path, seeds: str, kill_at: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUSH, uri, str(folder), seeds, str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_push_killed_before_each_object_leaves_no_half_version(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    uri, killed = fault_proxy.uri("store"), 0
    for operation in range(1, 20):
        process = push(uri, tmp_path, "1", operation)
        screen, _ = process.communicate()
        store = RemoteModelStore(uri)
        assert all(not store.verify(version) for version in store.versions("taxi"))
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, screen
        killed += 1
    assert killed > 7
    assert len(store.versions("taxi")) in (1, 2)  # the kill before the state was written left a whole version


@pytest.mark.slow
def test_processes_that_push_at_once_each_get_their_versions(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    uri = fault_proxy.uri("store", retry_seconds=20)
    processes = [push(uri, tmp_path, seeds) for seeds in ("1,2,3,4", "5,6,7,8")]
    for process in processes:
        screen, _ = process.communicate()
        assert process.returncode == 0, screen
    store = RemoteModelStore(uri)
    versions = store.versions("taxi")
    assert [version.number for version in versions] == list(range(51, 59))
    assert [store.verify(version) for version in versions] == [[]] * 8
    assert len({version.manifest.model_digest for version in versions}) == 8
    assert sorted(event.version for event in store.history("taxi")) == list(range(51, 59))
