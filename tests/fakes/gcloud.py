"""`gcloud storage` and `gcloud secrets`, as docs/operations.md calls them, before the fakes of these services.

It fails where gcloud does: what is not there is an error of `ls`, `cp`, `rm` and `rsync` alike (google-cloud-sdk 578,
command_lib/storage/rsync_command_util.py). The fake Cloud Storage keeps no older generations: a test gives them.
https://cloud.google.com/sdk/gcloud/reference/storage, https://cloud.google.com/sdk/gcloud/reference/secrets/versions
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from slipway.stores import storage
from tests.fakes.secret_manager import SecretManager
from tests.fakes.storage_server import BUCKET, StorageServer

_URL = re.compile(rf"gs://({BUCKET}(?:-backup)?)(?:/([^#]+))?(?:#(\d+))?")


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
                assert numbers, "ERROR: (gcloud.storage.ls) One or more URLs matched no objects."
                return "\n".join(f"{url}#{number}" for number in sorted(numbers))
            case ["storage", "cp", source, target] if source.startswith("gs://"):
                path, number = self._path(source)
                found = self.generations.get(path, {})
                assert number in found, f"ERROR: (gcloud.storage.cp) The following URLs matched no objects: {source}"
                storage.write_bytes(self.server.uri(self._path(target)[0]), found[number])
                return ""
            case ["storage", "cp", source, target]:
                storage.write_bytes(self.server.uri(self._path(target)[0]), (self.folder / source).read_bytes())
                return ""
            case ["storage", "rm", url]:
                path, _ = self._path(url)
                there = storage.exists(self.server.uri(path))
                assert there, f"ERROR: (gcloud.storage.rm) The following URLs matched no objects: {url}"
                self.server.delete(path)
                return ""
            case ["storage", "rsync", "--recursive", *options, source, target]:
                [left_out] = [one.removeprefix("--exclude=") for one in options] or ["$^"]
                files = list(storage.list_files(self.server.uri(self._path(source)[0])))
                where = f"ERROR: (gcloud.storage.rsync) Did not find existing container at: {source}"
                assert files or source == f"gs://{BUCKET}-backup", where
                for file in [file for file in files if not re.match(left_out, file.name)]:
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
        root = "backup" if bucket.endswith("-backup") else "home"
        return f"{root}/{path}" if path else root, int(number or 0)
