"""`slipway ui` as a process: where it listens, what it says, how it ends, and clients that are slow."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.recorded_runs import write_run


@contextmanager
def ui(home: Path, *options: str, remote: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the address that it prints."""
    command = [sys.executable, "-m", "cli.main", "ui", "--port", "0", *options]
    environment = {"SLIPWAY_HOME": str(home), "PATH": "/usr/bin:/bin", "HOME": str(home)}
    environment |= {"SLIPWAY_REMOTE_HOME": remote} if remote else {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().split(" ")[0]
        finally:
            process.kill()


def ask(address: str, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_ui_serves_on_loopback_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    write_run(tmp_path, "taxi-1", "pushed")
    with ui(tmp_path) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        status, page = ask(address, "/runs")
        assert (status, "taxi-1" in page) == (200, True)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in err, "authentication" in out) == (0, False, False)


def test_a_bucket_out_of_reach_holds_up_neither_the_start_nor_the_end(tmp_path: Path) -> None:
    """A request to it is tried for a minute."""
    remote = "gs://anonymous@bucket/home?scheme=http&endpoint_override=localhost:9"
    with ui(tmp_path, remote=remote) as (process, address):
        status, page = ask(address, "/runs")
        assert (status, "still being read" in page) == (200, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.slow
def test_ui_says_who_can_reach_it_elsewhere(tmp_path: Path) -> None:
    with ui(tmp_path, "--host", "0.0.0.0") as (process, address):
        assert ask(address.replace("0.0.0.0", "127.0.0.1"), "/runs")[0] == 200
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
        assert "no authentication" in said
        assert "identity-aware proxy" in said


def test_slow_clients_are_left_and_do_not_keep_others_waiting(tmp_path: Path) -> None:
    with ui(tmp_path) as (_, address):
        place = (urlsplit(address).hostname, urlsplit(address).port)
        slow = [socket.create_connection(place) for _ in range(50)]
        for number, one in enumerate(slow):
            one.sendall(b"GET /runs HTTP/1.1\r\nHost: localhost\r\nX-Slow: "[: number + 1])
        began = time.monotonic()
        assert ask(address, "/runs")[0] == 200
        assert time.monotonic() - began < 10
        for one in slow:
            one.settimeout(60)
            while one.recv(4096):
                pass
            one.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /runs/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
        b"GET http://evil.example/runs HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_of_ours_is_refused(raw_address: str, sent: bytes) -> None:
    with socket.create_connection((urlsplit(raw_address).hostname, urlsplit(raw_address).port), timeout=60) as one:
        one.sendall(sent)
        answer = one.recv(65536)
    assert answer[9:12] in (b"400", b"403", b"404", b"405", b"414", b"431")
    assert b"Traceback" not in answer
    assert ask(raw_address, "/runs")[0] == 200


@pytest.fixture(scope="module")
def raw_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ui(tmp_path_factory.mktemp("home")) as (_, address):
        yield address


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "cli.main", "ui", "--port", port]
        done = subprocess.run(
            command, capture_output=True, text=True, env={"SLIPWAY_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        )
    assert done.returncode == 1
    assert port in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
