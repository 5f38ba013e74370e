"""Both clients against a real server, and against what is none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import ATTEMPTS, ClientProtocol, ModelClient, connect
from serving.server.config import ServerConfig
from serving.server.model_sources import ConfigFile, OneVersion
from serving.server.server import ModelServer
from slipway.errors import ConfigError, DataError, RequestError
from tests.conformance.model import ECHOED, NAME
from tests.fakes.loopback_server import Answer, LoopbackServer, Request

PROTOCOLS: tuple[ClientProtocol, ...] = ("grpc", "rest")


@pytest.fixture(scope="module")
def server(conformance_models: Path) -> Iterator[ModelServer]:
    source = ConfigFile(conformance_models / "models.config", allow_unavailable_labels=True)
    with ModelServer(source, ServerConfig(grpc_port=0, rest_port=0)) as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> ClientProtocol:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def client(server: ModelServer, protocol: ClientProtocol) -> Iterator[ModelClient]:
    with connect(address(server, protocol), NAME, protocol=protocol) as client:
        yield client


def address(server: ModelServer, protocol: ClientProtocol) -> str:
    return f"localhost:{server.grpc_port if protocol == 'grpc' else server.rest_port}"


class Web(LoopbackServer):
    """A web server that is no model server."""

    page = Answer(200, b"<html>Welcome</html>", "text/html")

    def handle(self, request: Request) -> Answer:
        return self.page

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, b'{"error": "made to fail"}')

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


def test_predict_values_of_every_type_come_back(client: ModelClient) -> None:
    given: dict[str, Any] = {name: np.array([0, 1], name.replace("float", "float32")) for name in ECHOED[:-1]}
    given["string"] = np.array([b"text", b"\xff\x00"], object)
    answer = client.predict(given, "echo")

    assert answer.pop("string_bytes").tolist() == [b"text", b"\xff\x00"]
    for name, values in answer.items():
        assert values.dtype == given[name].dtype
        # JSON has no bytes: of an output that is not called *_bytes, what is no UTF-8 is lost over REST.
        assert values[0] == given[name][0]
    assert answer.keys() == given.keys()


def test_predict_single_output_keeps_name_and_shape(client: ModelClient) -> None:
    answer = client.predict({"x": np.array([[1, 2], [3, 4]], np.float32)}, "matrix")

    assert {name: values.tolist() for name, values in answer.items()} == {"y": [[3.0], [7.0]]}


def test_client_version_is_kept_to(server: ModelServer, protocol: ClientProtocol) -> None:
    x = {"x": np.zeros(1, np.float32)}
    with connect(address(server, protocol), NAME, protocol=protocol, version=1) as first:
        assert first.predict(x, "version")["version"].tolist() == [1.0]
        assert first.states() == {1: "AVAILABLE"}
        assert first.version() == 1
    with (
        connect(address(server, protocol), NAME, protocol=protocol, version=0) as none,
        pytest.raises(RequestError, match=r"Could not find version 0 of model conformance") as caught,
    ):
        none.states()
    assert caught.value.status == 404


def test_client_without_a_version_is_told_which_one_answers(client: ModelClient) -> None:
    assert client.version() == max(client.states()) == 2


def test_classify_what_is_no_example_is_a_data_error(client: ModelClient) -> None:
    with pytest.raises(DataError, match=r"example 2 of 2.*2 bytes"):
        client.classify([b"", b"\xff\xff"])


def test_client_unknown_names_are_the_servers_to_refuse(server: ModelServer, protocol: ClientProtocol) -> None:
    with (
        connect(address(server, protocol), "a/b ?", protocol=protocol) as client,
        pytest.raises(RequestError, match=r"(NOT_FOUND|404 Not Found): .*a/b \?\). Name a model and a --version"),
    ):
        client.signatures()
    with (
        connect(address(server, protocol), NAME, protocol=protocol) as client,
        pytest.raises(RequestError, match='"nobody" not found'),
    ):
        client.predict({}, "nobody")


def test_client_where_nothing_listens_says_how_to_start_a_server(protocol: ClientProtocol) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        tried = rf"tried {ATTEMPTS} times in .*" if protocol == "rest" else ""
        with (
            connect(f"127.0.0.1:{port}", "m", protocol=protocol) as client,
            pytest.raises(RequestError, match=rf"no model server answers at .*:{port}.*{tried}slipway serve") as caught,
        ):
            client.states()
        assert caught.value.status == 502


def test_client_server_that_never_answers_is_given_up_once(protocol: ClientProtocol) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        begin = time.monotonic()
        with (
            connect(where, "m", protocol=protocol, timeout_seconds=0.3) as client,
            pytest.raises(RequestError, match=r"did not answer within 0.3 s") as caught,
        ):
            client.states()
        assert caught.value.status == 504
        assert time.monotonic() - begin < 0.3 * ATTEMPTS


def test_rest_client_busy_server_is_asked_again() -> None:
    answer = b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}'
    with Web() as web:
        web.page = Answer(200, answer)
        web.fail("GET", ".*", 503, times=2)
        with connect(web.address, "m", protocol="rest") as client:
            assert client.states() == {3: "AVAILABLE"}
        assert len(web.requests) == 3

        web.fail("GET", ".*", 503, times=ATTEMPTS)
        with (
            connect(web.address, "m", protocol="rest") as client,
            pytest.raises(RequestError, match="503 Service Unavailable: made to fail"),
        ):
            client.states()
        assert len(web.requests) == 3 + ATTEMPTS


@pytest.mark.parametrize("page", [b"<html>Welcome</html>", b"[]", b'{"status": "UP"}', b"\xff"])
def test_rest_client_other_servers_answer_is_named(page: bytes) -> None:
    with Web() as web:
        web.page = Answer(200, page)
        with (
            connect(web.address, "m", protocol="rest") as client,
            pytest.raises(RequestError, match=r"not a model server.*--address"),
        ):
            client.signatures()


@pytest.mark.parametrize(
    ("where", "protocol"),
    [
        ("http://localhost:8500", "grpc"),
        ("localhost", "grpc"),
        ("localhost:http", "rest"),
        ("http://localhost", "rest"),
    ],
)
def test_connect_address_that_is_none_is_refused(where: str, protocol: ClientProtocol) -> None:
    with pytest.raises(ConfigError, match=f"--address {where}: give HOST:PORT"):
        connect(where, "m", protocol=protocol)


def test_predict_rows_takes_null_and_rows_with_different_keys(tiny_model: Path, protocol: ClientProtocol) -> None:
    with (
        ModelServer(OneVersion("tiny", tiny_model), ServerConfig(grpc_port=0, rest_port=0)) as server,
        connect(address(server, protocol), "tiny", protocol=protocol) as client,
    ):
        answers = client.predict_rows([{"size": 1.0, "rooms": 2, "town": "Ulm"}, {"town": "Bonn", "size": None}])
        assert [each["predictions"] for each in answers] == pytest.approx([0.549834, 0.598688], abs=1e-6)
        with pytest.raises(DataError, match="row 2: rooms is 'two'"):
            client.predict_rows([{"rooms": 2}, {"rooms": "two"}])
        with pytest.raises(DataError, match="of the model: it has rums"):
            client.predict_rows([{"rums": 2}])
