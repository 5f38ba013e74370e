from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.server.config import ServerConfig
from serving.server.model_sources import StoreModels
from serving.server.server import ModelServer
from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, Provenance
from tests.conformance.addresses import Addresses

ROOT = Path(__file__).parents[2]
NAMES = ("SLIPWAY_CONFORMANCE_REST", "SLIPWAY_CONFORMANCE_GRPC", "SLIPWAY_CONFORMANCE_STORE")


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(command, cwd=ROOT, env=inherited | variables, capture_output=True, text=True, check=False)


def smoke(**variables: str) -> subprocess.CompletedProcess[str]:
    return run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/test_smoke.py", **variables
    )


def test_each_model_has_its_own_address() -> None:
    template = Addresses("{model}-serving.staging:8500", "{model}-serving.staging:8501")
    one = Addresses("localhost:8500", "localhost:8501")

    assert template.of("taxi").rest == "taxi-serving.staging:8501"
    assert template.of("nyc_taxi").grpc == "nyc-taxi-serving.staging:8500"
    assert one.of("taxi") == one


@pytest.mark.parametrize("given", [(), NAMES[:1], NAMES[1:2]])
def test_make_smoke_wants_both_addresses(given: tuple[str, ...]) -> None:
    done = run("make", "-o", ".venv/.installed-dev", "smoke", **dict.fromkeys(given, "localhost:1"))

    assert done.returncode != 0
    assert "SLIPWAY_CONFORMANCE_REST" in done.stderr
    assert "pytest" not in done.stdout


def test_store_without_models_is_an_error(tmp_path: Path) -> None:
    done = smoke(SLIPWAY_CONFORMANCE_STORE=str(tmp_path), SLIPWAY_CONFORMANCE_REST="localhost:1")

    assert done.returncode not in (0, 5)
    assert f"{tmp_path} has no model in production" in done.stdout


@pytest.mark.slow
def test_store_without_addresses_is_an_error(tmp_path: Path) -> None:
    done = smoke(SLIPWAY_CONFORMANCE_STORE=str(tmp_path))

    assert done.returncode not in (0, 5)
    assert "SLIPWAY_CONFORMANCE_REST" in done.stdout


@pytest.mark.slow
def test_two_models_are_asked_each_at_its_own_server(tiny_model: Path, tmp_path: Path) -> None:
    """The models `a` and `b` are served at 0x7f00000a and 0x7f00000b, of the loopback network."""
    store = LocalModelStore(tmp_path / "models")
    for name in ("a", "b"):
        lineage = Lineage(run="r", module=name, module_digest="d", data_uri="d")
        store.push(tiny_model, Provenance(model=name, lineage=lineage))

    def server(name: str, host: str, rest_port: int = 0, grpc_port: int = 0) -> ModelServer:
        config = ServerConfig(host=host, rest_port=rest_port, grpc_port=grpc_port)
        return ModelServer(StoreModels(store, [name], tmp_path / "cache"), config)

    with server("a", "127.0.0.10") as first, server("b", "127.0.0.11", first.rest_port, first.grpc_port):
        both = {
            "SLIPWAY_CONFORMANCE_STORE": str(tmp_path / "models"),
            "SLIPWAY_CONFORMANCE_REST": f"http://0x7f00000{{model}}:{first.rest_port}",
            "SLIPWAY_CONFORMANCE_GRPC": f"0x7f00000{{model}}:{first.grpc_port}",
            "GRPC_DNS_RESOLVER": "native",
        }
        asked = smoke(**both)
        one = both | {"SLIPWAY_CONFORMANCE_REST": f"127.0.0.10:{first.rest_port}"}
        misdirected = smoke(**one)

    assert asked.returncode == 0, asked.stdout
    assert "12 passed" in asked.stdout
    assert misdirected.returncode == 1
    assert "[b]" in misdirected.stdout
