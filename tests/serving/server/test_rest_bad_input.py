"""Whatever clients send, the server answers in the contract's form, stays up, and keeps no memory."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.server.http_calls import Connection, ask, connected, request
from tests.serving.server.one_server import ServerProcess, serving

# Hypothesis takes a thread of the process that uses `random` meanwhile, such as a client's, for a strategy that does.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
PREDICT = "/v1/models/tiny:predict"
ROW = {"size": 1.0, "rooms": 2, "town": "Ulm"}
GOOD = json.dumps({"signature_name": "raw", "instances": [ROW]})
# What a run may leave behind, in MiB: caches of the allocator, not what was sent.
GROWTH = 96
# The same of three long rounds, in which 435 MB are sent and answers of 65 MB are written.
LONG_GROWTH = 256

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["size", "rooms", "town", "examples", "x"])
serialized = st.binary(max_size=40).map(lambda data: {"b64": base64.b64encode(data).decode()})
signatures = st.sampled_from(["raw", "serving_default", "classify", "transform_features", "", "nobody"])
documents = st.one_of(
    values,
    st.fixed_dictionaries(
        {},
        optional={
            "signature_name": signatures | values,
            "instances": st.lists(st.dictionaries(names, values, max_size=3) | values | serialized, max_size=5)
            | values,
            "inputs": st.dictionaries(names, st.lists(values, max_size=4) | values, max_size=4) | values,
            "examples": st.lists(st.dictionaries(names, values | st.lists(values, max_size=3), max_size=3), max_size=3),
            "context": st.dictionaries(names, values, max_size=2),
        },
    ),
    st.integers(0, 2000).map(lambda count: {"signature_name": "raw", "instances": [ROW] * count}),
    st.integers(0, 2000).map(lambda depth: {"inputs": "nested", "depth": depth}),
)
methods = st.sampled_from(["predict", "classify", "regress"])
paths = st.sampled_from(
    ["/v1/models/tiny", "/v1/models/tiny/versions/1", "/v1/models/nobody", "/v1/models/tiny/labels/x"]
)


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[ServerProcess]:
    with serving("tiny", tiny_model) as server:
        for _ in range(30):
            assert ask(server.port, "POST", PREDICT, GOOD).status == 200
        yield server


def body_of(document: Any) -> bytes:
    if isinstance(document, dict) and document.get("inputs") == "nested":
        depth: int = document["depth"]
        return b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"
    return json.dumps(document).encode()


def check_answer(port: int, method: str, path: str, body: bytes) -> None:
    answer = ask(port, "POST", f"{path}:{method}", body)

    if answer.status != 200:
        assert answer.status in (400, 404, 501)
        assert answer.error


def check_alive(server: ServerProcess) -> None:
    assert server.is_running()
    assert ask(server.port, "POST", PREDICT, GOOD).json["predictions"] == pytest.approx([0.549834], abs=1e-6)


def run_wrong_documents(server: ServerProcess, count: int) -> None:
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(path=paths, method=methods, document=documents)
    def run(path: str, method: str, document: Any) -> None:
        check_answer(server.port, method, path, body_of(document))

    run()


def run_wrong_bytes(server: ServerProcess, count: int) -> None:
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(path=paths, method=methods, at=st.integers(0, len(GOOD)), inserted=st.binary(min_size=1, max_size=6))
    def run(path: str, method: str, at: int, inserted: bytes) -> None:
        check_answer(server.port, method, path, GOOD[:at].encode() + inserted + GOOD[at + 1 :].encode())

    run()


def run_broken_http(server: ServerProcess, count: int) -> None:
    """Cuts, insertions and pipelines in the bytes of HTTP itself; the client goes away without a word."""
    whole = request("POST", PREDICT, GOOD)
    chunked = f"POST {PREDICT} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{GOOD[:5]}\r\nff\r\n".encode()

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        start=st.sampled_from([whole, chunked, whole * 3]),
        at=st.integers(0, len(whole)),
        inserted=st.binary(max_size=20) | st.just(b"\r\n\r\n") | st.just(whole),
    )
    def run(start: bytes, at: int, inserted: bytes) -> None:
        with connected(server.port) as connection, contextlib.suppress(OSError):
            connection.send(start[:at] + inserted + start[at:])

    run()


def run_half_open(server: ServerProcess, count: int) -> list[Connection]:
    connections = [Connection(server.port) for _ in range(count)]
    for number, connection in enumerate(connections):
        connection.send(request("POST", PREDICT, GOOD)[: number * 7 % 150])
    return connections


def send_large(server: ServerProcess, body: bytes) -> int:
    answer = ask(server.port, "POST", PREDICT, body)
    if answer.status != 200:
        assert answer.error
        assert len(answer.body) < 10_000
    return answer.status


@pytest.mark.parametrize("run", [run_wrong_documents, run_wrong_bytes, run_broken_http])
def test_server_bad_input_is_answered_and_nothing_stays(server: ServerProcess, run: Any) -> None:
    run(server, 30)
    before = server.resident_mebibytes()

    run(server, 200)

    check_alive(server)
    assert server.resident_mebibytes() - before < GROWTH


def test_server_half_open_connections_starve_nobody_and_end(server: ServerProcess) -> None:
    connections = run_half_open(server, 100)
    begin = time.monotonic()
    for _ in range(10):
        check_alive(server)
    assert time.monotonic() - begin < 5

    for connection in connections:
        with contextlib.suppress(ConnectionResetError):
            connection.seconds_until_closed(10)
        connection.close()


@pytest.mark.parametrize("megabytes", [60, pytest.param(100, marks=pytest.mark.slow)])
def test_server_large_body_leaves_nothing(server: ServerProcess, megabytes: int) -> None:
    length = megabytes * 1_000_000
    # What a mistake quotes of a body is short, and JSON that is right but no tf.Example is the model's to refuse.
    assert send_large(server, b'{"instances": [' + b"x" * length) == 400
    before = server.resident_mebibytes()
    assert send_large(server, b'{"instances": [' + b"x" * length) == 400
    assert send_large(server, b'{"instances": ["' + b"no " * (length // 3) + b'"]}') == 400

    check_alive(server)
    assert server.resident_mebibytes() - before < GROWTH


@pytest.mark.slow
def test_server_long_abuse_from_many_sides_leaves_it_as_it_was(tiny_model: Path) -> None:
    with serving("tiny", tiny_model) as server:

        def once() -> None:
            threads = [
                threading.Thread(target=run, args=(server, 300))
                for run in (run_wrong_documents, run_wrong_bytes, run_broken_http)
            ]
            for thread in threads:
                thread.start()
            connections = run_half_open(server, 50)
            numbers = b"1, " * 5_000_000 + b"1"
            assert send_large(server, b'{"signature_name": "raw", "inputs": {"rooms": [' + numbers + b"]}}") == 200
            assert send_large(server, b'{"signature_name": "raw", "instances": [' + numbers + b"]}") == 400
            assert send_large(server, b'{"inputs": [NaN, ' + numbers + b"]}") == 400
            assert send_large(server, b" " * 100_000_000) == 400
            for thread in threads:
                thread.join()
            for connection in connections:
                connection.close()
            check_alive(server)

        for _ in range(2):
            once()
        before = server.resident_mebibytes()
        for _ in range(3):
            once()

        assert server.resident_mebibytes() - before < LONG_GROWTH
