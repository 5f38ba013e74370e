"""`gcloud storage`, as docs/operations.md calls it, before the fake Cloud Storage, which keeps no older generations.

https://cloud.google.com/sdk/gcloud/reference/storage
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from slipway.stores import storage
from tests.fakes.storage_server import BUCKET, StorageServer

_URL = re.compile(rf"gs://({BUCKET}(?:-backup)?)/([^#]+)(?:#(\d+))?")


@dataclass
class Gcloud:
    """Refuses what it does not know.

    Attributes:
        generations: Replaced contents of objects, by path and number.
        backup: The second bucket, `<bucket>-backup`, whose objects lie below `backup/` of the first.
    """

    server: StorageServer
    generations: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def run(self, arguments: list[str]) -> str:
        """Prints what it would print."""
        match arguments:
            case ["storage", "ls", "--all-versions", url]:
                path, _ = self._path(url)
                numbers = [*self.generations.get(path, {}), *([99] if storage.exists(self.server.uri(path)) else [])]
                assert numbers, f"ERROR: (gcloud.storage.ls) One or more URLs matched no objects: {url}"
                return "\n".join(f"{url}#{number}" for number in sorted(numbers))
            case ["storage", "cp", source, target]:
                path, number = self._path(source)
                storage.write_bytes(self.server.uri(self._path(target)[0]), self.generations[path][number])
                return ""
            case ["storage", "rm", url]:
                self.server.delete(self._path(url)[0])
                return ""
            case ["storage", "rsync", "--recursive", source, target]:
                for file in storage.list_files(self.server.uri(self._path(source)[0])):
                    content = storage.read_bytes(file.uri)
                    storage.write_bytes(storage.join(self.server.uri(self._path(target)[0]), file.name), content)
                return ""
        raise AssertionError(f"gcloud: unknown: {arguments}")

    def _path(self, url: str) -> tuple[str, int]:
        found = _URL.fullmatch(url)
        assert found, f"no URL of an object: {url}"
        bucket, path, number = found.groups()
        return (f"backup/{path}" if bucket.endswith("-backup") else f"home/{path}"), int(number or 0)
