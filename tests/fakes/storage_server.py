"""A Google Cloud Storage on this machine, for tests of gs:// URIs."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import HTTPServer
from typing import Any, Self
from urllib.parse import quote
from urllib.request import Request, urlopen

BUCKET = "bucket"


class _EmulatorServer(HTTPServer):
    request_queue_size = 128  # a connection that finds the queue full is tried again a second later


class StorageServer:
    """gcp_storage_emulator with one bucket; it listens on loopback and keeps all in memory."""

    scheme = "gs"

    def __enter__(self) -> Self:
        from gcp_storage_emulator.handlers.buckets import create_bucket
        from gcp_storage_emulator.server import RequestHandler
        from gcp_storage_emulator.storage import Storage

        self._storage: Any = Storage(use_memory_fs=True)
        create_bucket(BUCKET, self._storage)
        self._server = _EmulatorServer(("localhost", 0), partial(RequestHandler, self._storage))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def clear(self) -> None:
        """Deletes all objects."""
        self._storage.wipe(keep_buckets=True)

    def uri(self, path: str) -> str:
        """The URI of an object, with the emulator's address as Arrow wants it."""
        query = f"scheme=http&endpoint_override=localhost:{self.port}&retry_limit_seconds=20"
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

    def delete(self, path: str) -> None:
        """Deletes an object as others would."""
        url = f"http://localhost:{self.port}/storage/v1/b/{BUCKET}/o/{quote(path, safe='')}"
        urlopen(Request(url, method="DELETE")).close()

    def content_type(self, path: str) -> str:
        """What a browser is told that an object is."""
        with urlopen(f"http://localhost:{self.port}/storage/v1/b/{BUCKET}/o/{quote(path, safe='')}") as answer:
            return str(json.load(answer)["contentType"])
