"""`gcloud storage` and `gcloud secrets`, as docs/operations.md calls them, before the fakes of these services.

The fake Cloud Storage keeps no older generations: a test gives them.
https://cloud.google.com/sdk/gcloud/reference/storage, https://cloud.google.com/sdk/gcloud/reference/secrets/versions
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from slipway.stores import storage
from tests.fakes.secret_manager import SecretManager
from tests.fakes.storage_server import BUCKET, StorageServer

_URL = re.compile(rf"gs://({BUCKET}(?:-backup)?)/([^#]+)(?:#(\d+))?")


@dataclass
class Gcloud:
    """Refuses what it does not know.

    Attributes:
        server: With the bucket; the second one, `<bucket>-backup`, lies below `backup/` of it.
        generations: Replaced contents of objects, by path and number.
        secrets: Where a secret's new version goes.
        folder: Where files are.
    """

    server: StorageServer
    generations: dict[str, dict[int, bytes]] = field(default_factory=dict)
    secrets: SecretManager | None = None
    folder: Path = Path()

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
            case ["secrets", "versions", "add", "slipway-webhook", "--project=p", file] if file.startswith(
                "--data-file="
            ):
                assert self.secrets
                self.secrets.value = (self.folder / file.removeprefix("--data-file=")).read_text()
                return ""
            case ["secrets", "versions", "disable", number, "--secret=slipway-webhook", "--project=p"]:
                assert number.isdigit(), f"the number of a version: {number}"
                return ""
        raise AssertionError(f"gcloud: unknown: {arguments}")

    def _path(self, url: str) -> tuple[str, int]:
        found = _URL.fullmatch(url)
        assert found, f"no URL of an object: {url}"
        bucket, path, number = found.groups()
        return (f"backup/{path}" if bucket.endswith("-backup") else f"home/{path}"), int(number or 0)
