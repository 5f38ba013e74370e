"""A whole server in this process: ports, reloads, what it follows."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import connect
from serving.protocol.protos import model_management_pb2, model_server_config_pb2, predict_pb2
from serving.server import grpc_services, model_manager
from serving.server.config import ServerConfig
from serving.server.metrics import METRICS_PATH
from serving.server.model_sources import BasePaths, ConfigFile, OneVersion
from serving.server.model_versions import State
from serving.server.server import ModelServer
from serving.server.warmup import load_servable
from slipway.errors import ConfigError, StoreError
from tests.conformance.grpc_calls import Calls
from tests.serving.server.http_calls import ask
from tests.serving.server.versions_on_disk import VersionsOnDisk, without
from tests.serving.server.waiting import eventually

FREE = ServerConfig(grpc_port=0, rest_port=0, poll_seconds=0.05, max_load_retries=0)


@pytest.fixture
def server(versions: VersionsOnDisk) -> Iterator[ModelServer]:
    versions.add(1)
    with ModelServer(BasePaths.single("m", versions.base), FREE) as server:
        yield server


@pytest.fixture
def calls(server: ModelServer) -> Iterator[Calls]:
    calls = Calls(f"127.0.0.1:{server.grpc_port}")
    yield calls
    calls.channel.close()


def reload(calls: Calls, *models: dict[str, Any]) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    for model in models:
        config.model_config_list.config.add(**({"model_platform": "tensorflow"} | model))
    calls.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(config=config))


def refused(calls: Calls, *models: dict[str, Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        reload(calls, *models)
    return caught.value.code(), caught.value.details()


def test_server_says_so_until_its_models_are_loaded(versions: VersionsOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.add(1)
    goes_on = threading.Event()

    def load(*arguments: Any) -> Any:
        assert goes_on.wait(20)
        return load_servable(*arguments)

    monkeypatch.setattr(model_manager, "load_servable", load)
    server = ModelServer(BasePaths.single("m", versions.base), FREE)
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        eventually(lambda: server.rest_port > 0)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            check = health_pb2.HealthCheckRequest()
            assert ask(server.rest_port, "GET", "/v1/models/m/metadata").status == 503
            assert health.Check(check, timeout=20).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert 'slipway_model_available{model_name="m"} 0' in server.metrics.page()
            goes_on.set()
            starting.join(20)
            assert ask(server.rest_port, "GET", "/v1/models/m/metadata").status == 200
            assert health.Check(check, timeout=20).status == health_pb2.HealthCheckResponse.SERVING
            assert 'slipway_model_available{model_name="m"} 1' in server.metrics.page()
    finally:
        goes_on.set()
        starting.join(20)
        server.stop()


def test_server_port_that_is_taken_is_named(versions: VersionsOnDisk) -> None:
    versions.add(1)
    source = BasePaths.single("m", versions.base)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for config, flag in (
            (ServerConfig(grpc_port=port, rest_port=0), "--port"),
            (ServerConfig(grpc_port=0, rest_port=port), "--rest_api_port"),
        ):
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port} .*another one with {flag}"):
                ModelServer(source, config).start()


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid"])
def test_server_address_of_another_machine_is_refused(versions: VersionsOnDisk, host: str) -> None:
    source = OneVersion("m", versions.base)
    with pytest.raises(ConfigError, match=f"cannot listen on {host}:0 .*an address of this machine with --host"):
        ModelServer(source, ServerConfig(host=host, grpc_port=0, rest_port=0)).start()


def test_server_second_one_on_the_same_grpc_port_is_refused(server: ModelServer, versions: VersionsOnDisk) -> None:
    with pytest.raises(ConfigError, match="for gRPC"):
        ModelServer(BasePaths.single("m", versions.base), ServerConfig(grpc_port=server.grpc_port, rest_port=0)).start()


def test_server_that_cannot_start_gives_its_ports_back(tmp_path: Path) -> None:
    server = ModelServer(OneVersion("m", tmp_path), FREE)
    with pytest.raises(StoreError, match="Could not find SavedModel"):
        server.start()
    for port in (server.grpc_port, server.rest_port):
        with socket.socket() as free:
            free.bind(("127.0.0.1", port))


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_server_ipv6_address_is_served(versions: VersionsOnDisk) -> None:
    config = ServerConfig(host="::1", grpc_port=0, rest_port=0)
    with ModelServer(OneVersion("m", versions.add(1)), config) as server:
        clients = (
            connect(f"[::1]:{server.grpc_port}", "m", protocol="grpc"),
            connect(f"[::1]:{server.rest_port}", "m", protocol="rest"),
        )
        for client in clients:
            with client:
                assert client.states() == {1: "AVAILABLE"}


def test_predict_shape_that_no_memory_holds_is_an_invalid_argument(calls: Calls) -> None:
    request = predict_pb2.PredictRequest(model_spec=calls.spec("m", "raw"))
    request.inputs["town"].dtype = 7
    for size in (2**59, 0):
        request.inputs["town"].tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError, match="array is too big") as caught:
        calls.predictions.Predict(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_server_status_tells_why_a_version_is_not_served(calls: Calls, versions: VersionsOnDisk) -> None:
    versions.add(2, without("saved_model.pb"))
    eventually(lambda: [each.state for each in calls.status(model="m").model_version_status] == [50, 30])
    broken = calls.status(model="m", version=2).model_version_status[0]

    assert broken.status.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert "Could not find SavedModel" in broken.status.error_message


def test_reload_serves_the_new_models_and_drops_the_others(
    calls: Calls, versions: VersionsOnDisk, tmp_path: Path
) -> None:
    other = VersionsOnDisk(versions.model, tmp_path / "other")
    other.add(7)
    versions.add(3)

    reload(calls, {"name": "n", "base_path": str(other.base)})

    assert calls.predict({}, "raw", model="n").model_spec.version.value == 7
    eventually(lambda: [each.state for each in calls.status(model="m").model_version_status][-1:] == [50])
    with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(m\)"):
        calls.predict({}, "raw", model="m")


def test_reload_labels_are_for_loaded_versions_only(calls: Calls, versions: VersionsOnDisk) -> None:
    versions.add(2)
    model: dict[str, Any] = {"name": "m", "base_path": str(versions.base)}
    policy: dict[str, Any] = {"model_version_policy": {"all": {}}}
    eventually(lambda: calls.predict({}, "raw", model="m").model_spec.version.value == 2)
    eventually(lambda: [each.state for each in calls.status(model="m").model_version_status] == [30, 50])

    code, text = refused(calls, model | policy | {"version_labels": {"stable": 1}})
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "version 1 of model m" in text
    reload(calls, model | policy)
    eventually(lambda: calls.status(model="m", version=1).model_version_status[0].state == 30)
    reload(calls, model | policy | {"version_labels": {"stable": 1, "canary": 2}})
    eventually(lambda: calls.predict({}, "raw", model="m", label="stable").model_spec.version.value == 1)
    assert calls.predict({}, "raw", model="m", label="canary").model_spec.version.value == 2
    reload(calls, model | policy | {"version_labels": {"stable": 2}})
    eventually(lambda: calls.predict({}, "raw", model="m", label="stable").model_spec.version.value == 2)


def test_reload_labels_that_may_wait_do_not_leave_a_loaded_version(versions: VersionsOnDisk) -> None:
    model: dict[str, Any] = {"name": "m", "base_path": str(versions.base.absolute())}
    versions.add(1)
    with ModelServer(BasePaths.single("m", versions.base), replace(FREE, allow_unavailable_labels=True)) as server:
        calls = Calls(f"127.0.0.1:{server.grpc_port}")
        reload(calls, model | {"version_labels": {"stable": 1, "canary": 2}})
        assert calls.predict({}, "raw", model="m", label="stable").model_spec.version.value == 1

        assert refused(calls, model | {"version_labels": {"stable": 2}})[0] is grpc.StatusCode.FAILED_PRECONDITION
        assert calls.predict({}, "raw", model="m", label="stable").model_spec.version.value == 1
        calls.channel.close()


def test_reload_what_cannot_be_followed_is_refused(calls: Calls, versions: VersionsOnDisk, tmp_path: Path) -> None:
    model = {"name": "m", "base_path": str(versions.base)}
    invalid = grpc.StatusCode.INVALID_ARGUMENT

    code, text = refused(calls, model, model)
    assert code is invalid
    assert "model m multiple times" in text
    code, text = refused(calls, {"name": "m", "base_path": "relative"})
    assert code is invalid
    assert "model m to have an absolute path" in text
    assert refused(calls, model, {"name": "n", "base_path": str(tmp_path / "nothing")})[0] is invalid
    with pytest.raises(grpc.RpcError, match="write `model_config_list"):
        calls.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())
    assert calls.predict({}, "raw", model="m").model_spec.version.value == 1


def test_reload_while_another_waits_is_refused_and_predictions_go_on(
    versions: VersionsOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_services, "_RELOAD_WAIT_SECONDS", 0.1)
    monkeypatch.setattr("serving.server.server.THREADS", 2)
    broken = VersionsOnDisk(versions.model, tmp_path / "broken")
    broken.add(1, without("saved_model.pb"))
    versions.add(1)
    model = {"name": "m", "base_path": str(versions.base)}
    config = replace(FREE, max_load_retries=1, retry_seconds=2.0)
    with ModelServer(BasePaths.single("m", versions.base), config) as server:
        calls = Calls(f"127.0.0.1:{server.grpc_port}")
        waiting = threading.Thread(target=refused, args=(calls, model, {"name": "n", "base_path": str(broken.base)}))
        waiting.start()
        eventually(lambda: "n" in server.manager.availability())
        assert refused(calls, model) == (grpc.StatusCode.UNAVAILABLE, "Another reload is at work; try again later")
        assert calls.predict({}, "raw", model="m").model_spec.version.value == 1
        waiting.join()
        reload(calls, model)
        calls.channel.close()


def test_reload_new_model_that_cannot_be_loaded_is_told(calls: Calls, versions: VersionsOnDisk, tmp_path: Path) -> None:
    broken = VersionsOnDisk(versions.model, tmp_path / "broken")
    broken.add(1, without("saved_model.pb"))

    code, text = refused(
        calls, {"name": "m", "base_path": str(versions.base)}, {"name": "n", "base_path": str(broken.base)}
    )

    assert code is grpc.StatusCode.UNKNOWN
    assert "n version 1: NOT_FOUND: Could not find SavedModel" in text
    assert calls.predict({}, "raw", model="m").model_spec.version.value == 1


def test_model_without_a_version_is_told_by_status_and_metrics_until_it_has_one(
    versions: VersionsOnDisk, tmp_path: Path
) -> None:
    versions.add(1)
    waiting = VersionsOnDisk(versions.model, tmp_path / "waiting")
    bases = {"waiting": waiting.base, "missing": tmp_path / "missing", "m": versions.base}
    models = [model_server_config_pb2.ModelConfig(name=name, base_path=str(base)) for name, base in bases.items()]
    with ModelServer(BasePaths(models), FREE) as server:
        calls = Calls(f"127.0.0.1:{server.grpc_port}")

        def available(name: str) -> bool:
            page = ask(server.rest_port, "GET", METRICS_PATH).body.decode()
            [line] = [line for line in page.splitlines() if f'slipway_model_available{{model_name="{name}"}}' in line]
            return line.endswith(" 1")

        for name in ("waiting", "missing"):
            answer = ask(server.rest_port, "GET", f"/v1/models/{name}")
            [told] = answer.json["model_version_status"]
            assert (answer.status, told["state"], told["status"]["error_code"]) == (200, "START", "NOT_FOUND")
            assert str(bases[name]) in told["status"]["error_message"]
            [status] = calls.status(model=name).model_version_status
            assert (status.version, status.state) == (0, State.START)
            assert status.status.error_message == told["status"]["error_message"]
            assert not available(name)
        assert ask(server.rest_port, "GET", "/v1/models/waiting/versions/1").status == 404
        assert ask(server.rest_port, "GET", "/v1/models/nobody").status == 404
        waiting.add(3)
        eventually(lambda: available("waiting"))
        assert [(each.version, each.state) for each in calls.status(model="waiting").model_version_status] == [
            (3, State.AVAILABLE)
        ]
        reload(calls, {"name": "m", "base_path": str(versions.base)})
        assert ask(server.rest_port, "GET", "/v1/models/missing").status == 404
        eventually(lambda: server.manager.availability() == {"m": True})
        calls.channel.close()


def test_config_file_is_followed_and_a_damaged_one_changes_nothing(versions: VersionsOnDisk, tmp_path: Path) -> None:
    versions.add(1)
    versions.add(2)
    file = tmp_path / "models.config"

    def write(policy: str) -> None:
        file.write_text(
            f'model_config_list {{ config {{ name: "m" base_path: "{versions.base}" model_platform: "tensorflow" '
            f"model_version_policy {{ {policy} }} }} }}"
        )

    write("specific { versions: 1 }")
    with ModelServer(ConfigFile(file, 0.05), FREE) as server:
        calls = Calls(f"127.0.0.1:{server.grpc_port}")
        assert [each.version for each in calls.status(model="m").model_version_status] == [1]
        file.write_text("model_config_list { nonsense")
        time.sleep(0.3)
        assert calls.predict({}, "raw", model="m").model_spec.version.value == 1
        write("specific { versions: 2 }")
        eventually(lambda: calls.predict({}, "raw", model="m").model_spec.version.value == 2)
        calls.channel.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model_config_list {", "ModelServerConfig in text form"),
        ("", "names no model: write `model_config_list"),
        ('model_config_list { config { name: "m" base_path: "relative" } }', "absolute path"),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "caffe" } }',
            "caffe is not supported",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" version_labels { key: "stable" value: 1 } } }',
            "--allow_version_labels_for_unavailable_models",
        ),
    ],
)
def test_config_file_that_says_nothing_to_follow_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "models.config"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        ConfigFile(file)


def test_health_follows_the_server(versions: VersionsOnDisk) -> None:
    versions.add(1)
    server = ModelServer(BasePaths.single("m", versions.base), FREE)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        seen = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(seen).status == health_pb2.HealthCheckResponse.SERVING
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert next(seen).status == health_pb2.HealthCheckResponse.NOT_SERVING
        seen.cancel()
        stopping.join()


def test_server_many_threads_get_their_own_answers(calls: Calls) -> None:
    wrong: list[Any] = []

    def ask(number: int) -> None:
        for _ in range(30):
            size = np.full(number + 1, number, np.float32)
            answer = calls.predict({"size": size}, "raw", model="m").outputs["predictions"].float_val
            expected = 1 / (1 + np.exp(-0.3 * number))
            if len(answer) != number + 1 or not np.allclose(answer, expected, atol=1e-6):
                wrong.append((number, answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
