"""A Google Cloud Storage on this machine, for tests of gs:// URIs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BUCKET = "bucket"


class StorageServer:
    """An emulator with one bucket; it speaks on loopback and keeps all in memory."""

    def __init__(self, port: int) -> None:
        self.port = port

    def uri(self, path: str) -> str:
        """The URI of an object, with the emulator's address as Arrow wants it."""
        query = f"scheme=http&endpoint_override=localhost:{self.port}&retry_limit_seconds=2"
        return f"gs://anonymous@{BUCKET}/{path}?{query}"

    def put(self, path: str, content: bytes) -> None:
        """Writes an object as others would: a name that ends with a slash makes the mark of a folder."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(
            project="test",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": f"http://localhost:{self.port}"},  # there may be other emulators
        )
        client.bucket(BUCKET).blob(path).upload_from_string(content)
        client.close()


@contextmanager
def start_emulator() -> Iterator[StorageServer]:
    """An empty store on a free port."""
    from gcp_storage_emulator.server import create_server

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server: Any = create_server("localhost", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield StorageServer(port)
    finally:
        server.stop()
