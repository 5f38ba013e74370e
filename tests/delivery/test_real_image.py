"""The image really built by podman, pushed to a real registry on loopback, and looked up there."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from delivery.plan.fingerprints import Builder
from delivery.registry import ImageRegistry
from tests.delivery.plan.project import FILES, Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not (shutil.which("podman") and shutil.which("docker-registry")),
        reason="needs root, podman and docker-registry",
    ),
]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """host:port of a registry without a login."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{host}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
    )
    command = ["docker-registry", "serve", str(tmp_path / "registry.yml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://{host}/v2/")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield host
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(autouse=True)
def _podman(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A podman with storage of its own, which takes the registry without TLS."""
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{tmp_path / "run"}"\ngraphroot = "{tmp_path / "graph"}"\n'
    )
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def test_image_that_was_built_and_pushed_is_found_by_its_tag(registry: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.commit({**FILES, "Dockerfile": "FROM scratch\nARG ACCELERATOR\nARG GIT_REVISION\nCOPY slipway/ slipway/\n"})
    images, builder = ImageRegistry(f"{registry}/team/slipway"), Builder("podman", {"ACCELERATOR": "cpu"})
    assert images.digest("one") is None
    reference = f"{images.repository}:one"
    build, push = builder.commands(reference, "a" * 40)
    for command in (build, [*push, "--digestfile", "pushed"]):
        subprocess.run(command, cwd=project.folder, check=True)
    assert images.digest("one") == f"{images.repository}@{(project.folder / 'pushed').read_text()}"
    assert images.digest("two") is None
