"""A server of one SavedModel in a process of its own, whose memory can be looked at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


class ServerProcess:
    """Its REST port and its memory."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self._process = psutil.Process(process.pid)

    def is_running(self) -> bool:
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    def resident_mebibytes(self) -> float:
        return float(self._process.memory_info().rss) / (1 << 20)


@contextmanager
def serving(name: str, model: Path) -> Iterator[ServerProcess]:
    """Serves a SavedModel until the block is left."""
    command = [sys.executable, "-m", __name__, name, str(model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield ServerProcess(process, int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout:
            process.stdout.close()


def _main(name: str, model: str) -> None:
    import signal

    from serving.protocol.http_server import HttpProtocol
    from serving.server.config import ServerConfig
    from serving.server.model_sources import OneVersion
    from serving.server.server import ModelServer

    HttpProtocol.head_seconds = HttpProtocol.idle_seconds = 2.0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ModelServer(OneVersion(name, Path(model)), ServerConfig(grpc_port=0, rest_port=0)) as server:
        print(server.rest_port, flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    _main(*sys.argv[1:])
