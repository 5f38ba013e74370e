"""`slipway serve` as a user starts it."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.workspace import SLIPWAY, Workspace


@dataclass(frozen=True)
class Served:
    """Where the server listens, HOST:PORT, and the request that it prints."""

    grpc: str
    rest: str
    line: str


@contextmanager
def serve(workspace: Workspace, *options: str) -> Iterator[Served]:
    """A server on free ports; SIGTERM must end it with 0."""
    command = [str(SLIPWAY), "serve", "--port=0", "--rest_api_port=0", *options]
    with subprocess.Popen(
        command, env=workspace.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        try:
            said = ""
            while not (found := re.search(r"gRPC +(\S+)\nREST +http://(\S+)\ntry +(.+)\n", said)):
                line = process.stdout.readline()
                assert line, f"the server ended:\n{said}"
                said += line
            yield Served(*found.groups())
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
    assert process.returncode == 0, rest
