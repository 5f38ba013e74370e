"""A model server is asked, and whatever it does has a status and a line."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.predict_page.asking import ServedModel
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from slipway.errors import RequestError
from tests.served_models import TinyModel, write_saved_model
from tests.serving.predict_page.odd_server import OddServer

ROWS: list[Any] = [{"fare": 12.5, "payment": None}]


def ask(server: OddServer, rows: list[Any] = ROWS, timeout: float = 5.0) -> Any:
    with ServedModel(server.address, "taxi", timeout) as served:
        return served.predict(rows)


def test_predict_of_a_real_server_has_classes_version_and_probabilities(tmp_path: Path) -> None:
    model = TinyModel()
    source = OneVersion("tiny", write_saved_model(tmp_path / "model", model), 12)
    with (
        ModelServer(source, ServerConfig(grpc_port=0, rest_port=0)) as server,
        ServedModel(f"127.0.0.1:{server.rest_port}", "tiny", 5.0) as served,
    ):
        found = served.predict([{"size": 1.5, "rooms": 2, "town": "Ulm"}, {"size": None, "rooms": None, "town": None}])
    expected = model.answer([1.5, np.nan], np.array([2, np.iinfo(np.int64).min]), [b"Ulm", b""]).numpy()
    assert (found.version, found.classes) == (12, ("no", "yes"))
    np.testing.assert_allclose(found.values[:, 1], expected, rtol=1e-6)
    np.testing.assert_allclose(found.values.sum(axis=1), 1)
    assert found.inputs == {"size", "rooms", "town"}


def test_predict_of_a_regression_has_numbers_and_no_classes(tmp_path: Path) -> None:
    source = OneVersion("tiny", write_saved_model(tmp_path / "model", TinyModel(classification=False)))
    with (
        ModelServer(source, ServerConfig(grpc_port=0, rest_port=0)) as server,
        ServedModel(f"127.0.0.1:{server.rest_port}", "tiny", 5.0) as served,
    ):
        found = served.predict([{"size": 2.0}])
    assert (found.classes, found.values.shape) == ((), (1,))
    assert found.values[0] == pytest.approx(0.6)


def test_predict_names_the_version_that_answers_without_a_name_where_several_are_loaded() -> None:
    with OddServer(states={7: "AVAILABLE", 9: "AVAILABLE", 8: "END"}, serves=7) as server:
        assert ask(server).version == 7


def test_predict_asks_again_where_another_pod_has_another_version() -> None:
    with OddServer(states={8: "AVAILABLE"}, serves=7) as server:
        found = ask(server)
    # It never finds version 8, which another pod's status named, and says that it does not know which one answered.
    assert (found.version, found.values.tolist()) == (None, [0.75])


def test_predict_follows_to_another_version_without_being_started_again() -> None:
    with OddServer() as server, ServedModel(server.address, "taxi", 5.0) as served:
        assert served.predict(ROWS).version == 7
        server.states, server.serves = {8: "AVAILABLE"}, 8
        assert served.predict(ROWS).version == 8


def test_predict_of_classes_without_names_numbers_them() -> None:
    with OddServer(outputs=[[0.1, 0.9]], rank=2) as server:
        assert ask(server).classes == ("output 0", "output 1")


@pytest.mark.parametrize(
    ("server", "status", "said"),
    [
        (OddServer(states={7: "LOADING"}), 503, "LOADING"),
        (OddServer(states={}), 503, "no version"),
        (OddServer(signature="other"), 502, "'raw'.*other"),
        (OddServer(outputs=[0.5, 0.5]), 502, r"\[2\] to 1 rows"),
        (OddServer(outputs=0.5, rank=0), 502, r"\[\] to 1 rows"),
        (OddServer(outputs=["yes"], dtype="DT_STRING"), 502, "no numbers"),
        (OddServer(output="scores"), 502, "scores"),
    ],
)
def test_predict_of_an_odd_server_says_what_is_odd(server: OddServer, status: int, said: str) -> None:
    with server, pytest.raises(RequestError, match=said) as caught:
        ask(server)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_predict_keeps_the_status_of_the_server(status: int) -> None:
    with OddServer() as server:
        server.fail("GET", "/v1/models/taxi", status, times=100)
        with pytest.raises(RequestError, match=str(status)) as caught:
            ask(server)
    assert caught.value.status == status


def test_predict_of_a_slow_server_ends_in_time() -> None:
    with OddServer() as server:
        server.hang("POST", ".*:predict", 3, times=9)
        with pytest.raises(RequestError, match=r"0\.3 s") as caught:
            ask(server, timeout=0.3)
    assert caught.value.status == 504


def test_predict_without_a_server_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with ServedModel(address, "taxi", 5.0) as served, pytest.raises(RequestError, match=address) as caught:
        served.predict(ROWS)
    assert caught.value.status == 502
