"""Servers of the page's own process: the last few that were asked, and none ended under a request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.predict_page import own_servers
from serving.predict_page.own_servers import OwnServers
from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, Provenance

NAMES = ("a", "b", "c")


@pytest.fixture
def servers(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnServers]:
    """Of a store with three models; two are served at once."""
    monkeypatch.setattr(own_servers, "MOST_SERVERS", 2)
    store = LocalModelStore(tmp_path / "models")
    for name in NAMES:
        lineage = Lineage(run="r", module=name, module_digest="d", data_uri="d")
        store.push(tiny_model, Provenance(model=name, lineage=lineage))
    with closing(OwnServers(lambda: store, tmp_path / "cache")) as own:
        yield own


def port_of(servers: OwnServers, name: str) -> int:
    server = servers._running[name].server
    assert server
    return server.rest_port


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_server_that_was_not_asked_for_the_longest_time_ends(servers: OwnServers) -> None:
    ports = {}
    for name in ("a", "b", "a", "c"):
        servers.model(name).start()
        ports[name] = port_of(servers, name)
    assert {name: listens(port) for name, port in ports.items()} == {"a": True, "b": False, "c": True}
    assert servers.model("b").predict([{"size": 1.5}]).version  # starts again
    assert not listens(ports["a"])


def test_server_goes_on_until_its_request_is_answered(servers: OwnServers) -> None:
    """The models that others ask meanwhile are served, too: for that time there are more servers."""
    with servers.asked("a") as served:
        port = port_of(servers, "a")
        for name in ("b", "c"):
            assert servers.model(name).predict([{"size": 1.5}]).version
        assert served.predict([{"size": 1.5}]).version
        assert listens(port)
        with servers.asked("b"), servers.asked("c"):
            assert served.predict([{"size": 1.5}]).version
    for name in ("b", "c"):
        servers.model(name).start()
    assert not listens(port)


@pytest.mark.slow
def test_many_who_ask_at_once_get_one_server_of_each_model(servers: OwnServers) -> None:
    ports: dict[str, set[int]] = {name: set() for name in ("a", "b")}

    def ask(name: str) -> None:
        with servers.asked(name) as served:
            assert served.predict([{"size": 1.5}]).version
            ports[name].add(port_of(servers, name))

    asking = [threading.Thread(target=ask, args=(name,)) for name in ports for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert [len(its) for its in ports.values()] == [1, 1]


def test_model_that_cannot_be_served_can_be_asked_again(servers: OwnServers, monkeypatch: pytest.MonkeyPatch) -> None:
    start = OwnServers._start

    def fail(self: OwnServers, name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(OwnServers, "_start", fail)
    with pytest.raises(OSError, match="a"):
        servers.model("a").start()
    monkeypatch.setattr(OwnServers, "_start", start)
    assert servers.model("a").loaded().version
