"""Fixtures of all tests. What they need is imported when they are used: TensorFlow and kfp take seconds."""

from __future__ import annotations

import gc
import inspect
import os
import sys
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.shared_folders import shared_folder

if TYPE_CHECKING:
    from tests.fakes.fault_proxy import FaultProxy
    from tests.fakes.kubeflow import FakeKubeflow
    from tests.fakes.s3_server import S3Server
    from tests.fakes.secret_manager import SecretManager
    from tests.fakes.storage_server import StorageServer
    from tests.fakes.vertex import FakeVertex


# `make test-slow` names the other one, as `--hypothesis-profile all`.
settings.register_profile("few", max_examples=25)
settings.register_profile("all", max_examples=100)
settings.load_profile("few")

# Where bytecode is not kept, every worker compiles all tests and every process that a test starts all of Slipway.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One more than processors: tests wait for a third of their time, for other processes and for the clock."""
    return (yield) + 1


def pytest_collection() -> None:
    """Imports leave little garbage, and looking for it was a quarter of their time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keeps the garbage collector from what the tests imported: one collection takes half a second otherwise.

    And it looks less often at what they import themselves, as TensorFlow: that was a tenth of their time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def stacks_without_files() -> Iterator[None]:
    """Makes compiling quick: kfp asks `inspect.stack()` for a name, 75 times, which looks for each frame's file."""

    def stack(context: int = 1) -> list[inspect.FrameInfo]:
        frames = traceback.walk_stack(sys._getframe(1))
        return [
            inspect.FrameInfo(one, one.f_code.co_filename, at, one.f_code.co_name, None, None) for one, at in frames
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "stack", stack)
        yield


@pytest.fixture(scope="session")
def storage_emulator() -> Iterator[StorageServer]:
    """Google Cloud Storage with one bucket; STORAGE_EMULATOR_HOST names it."""
    from tests.fakes.storage_server import StorageServer

    with StorageServer() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{server.port}")
        yield server


@pytest.fixture
def google_storage(storage_emulator: StorageServer) -> Iterator[StorageServer]:
    """The emulator, whose bucket is empty before and after each test."""
    yield storage_emulator
    storage_emulator.clear()


@pytest.fixture
def storage_server(request: pytest.FixtureRequest) -> StorageServer | S3Server:
    """A store of objects: Google's, or of the kind that `tests/each_store.py` asks for."""
    kind = getattr(request, "param", "gs")
    server: StorageServer | S3Server = request.getfixturevalue({"gs": "google_storage", "s3": "s3_server"}[kind])
    return server


@pytest.fixture(scope="session")
def s3_emulator() -> Iterator[S3Server]:
    """S3 with one bucket; the variables of AWS name an account."""
    from tests.fakes.s3_server import VARIABLES, S3Server

    program = os.environ.get("SLIPWAY_S3_SERVER", "")
    with S3Server(program) as server, pytest.MonkeyPatch.context() as environment:
        for name, value in VARIABLES.items():
            environment.setenv(name, value)
        yield server


@pytest.fixture
def s3_server(s3_emulator: S3Server) -> Iterator[S3Server]:
    """S3, whose bucket is empty before and after each test."""
    yield s3_emulator
    s3_emulator.clear()


@pytest.fixture
def google_proxy(google_storage: StorageServer) -> Iterator[FaultProxy]:
    """A proxy before the emulator of Google that makes the faults a test asks for, and keeps preconditions."""
    from tests.fakes.fault_proxy import FaultProxy

    proxy = FaultProxy(google_storage.port)
    yield proxy
    proxy.close()
    gc.collect()


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy before S3 that makes the faults a test asks for."""
    from tests.fakes.s3_server import S3FaultProxy

    proxy = S3FaultProxy(s3_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def fault_proxy(request: pytest.FixtureRequest, storage_server: StorageServer | S3Server) -> FaultProxy:
    """A proxy before `storage_server`."""
    proxy: FaultProxy = request.getfixturevalue("s3_proxy" if storage_server.scheme == "s3" else "google_proxy")
    return proxy


@pytest.fixture
def remote_home(storage_server: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket's folder that runs share. SLIPWAY_ variables name it and all else that a remote run needs."""
    from tests.compiled.specs import IMAGE

    uri = storage_server.uri("home")
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", uri)
    monkeypatch.setenv("SLIPWAY_IMAGE", IMAGE)
    for module in ("delivery.targets.base", "slipway.remote.retries"):
        monkeypatch.setattr(f"{module}.sleep", lambda seconds: None)
    return uri


@pytest.fixture
def kubeflow(remote_home: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubeflow]:
    """Kubeflow Pipelines, named by SLIPWAY_KUBEFLOW__ENDPOINT."""
    from tests.fakes.kubeflow import FakeKubeflow

    with FakeKubeflow() as server:
        monkeypatch.setenv("SLIPWAY_KUBEFLOW__ENDPOINT", server.url)
        yield server


@pytest.fixture
def vertex(remote_home: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVertex]:
    """Vertex AI, named by SLIPWAY_VERTEX__ variables."""
    from tests.fakes.vertex import FakeVertex
    from tests.fakes.vertex.server import LOCATION, PROJECT

    with FakeVertex() as server:
        for name, value in {"PROJECT": PROJECT, "LOCATION": LOCATION, "ENDPOINT": server.url,
                            "LOGGING_ENDPOINT": server.url}.items():  # fmt: skip
            monkeypatch.setenv(f"SLIPWAY_VERTEX__{name}", value)
        yield server


@pytest.fixture
def secret_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    """Google's Secret Manager, and credentials for it."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    from tests.fakes.secret_manager import SecretManager

    monkeypatch.setattr(google.auth, "default", lambda scopes: (AnonymousCredentials(), "p"))  # type: ignore[no-untyped-call]
    with SecretManager() as server:
        monkeypatch.setattr("slipway.runs.notifications.secret.SECRET_MANAGER", server.url)
        yield server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with all signatures of the contract; hands off."""

    def write(folder: Path) -> None:
        from tests.served_models import write_saved_model

        write_saved_model(folder)

    return shared_folder(tmp_path_factory, "tiny", write)


@pytest.fixture(scope="session")
def conformance_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`conformance/{1,2}` and `models.config`; hands off."""

    def write(folder: Path) -> None:
        from tests.conformance.model import write_models

        write_models(folder)

    return shared_folder(tmp_path_factory, "conformance", write)
