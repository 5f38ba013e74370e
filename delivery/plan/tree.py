"""The project as Git has it at a revision: names and content by blob, without a checkout."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from slipway.errors import DeliveryError

SYMLINK, SUBMODULE = "120000", "160000"


class Entry(NamedTuple):
    """A tracked path: Git's mode (`100644`, `100755`, `120000`, `160000`) and the id of its content."""

    mode: str
    blob: str


@dataclass(frozen=True)
class Tree:
    """All tracked paths below the project at one commit; `revision` is its full id."""

    revision: str
    entries: dict[str, Entry]

    def differing(self, other: Tree | None) -> list[str]:
        """Paths that differ between both trees, a renamed file as two; all paths without another tree."""
        before = other.entries if other else {}
        # An entry with its path is a pair of dict.items(): those of one side only are the differences.
        return sorted({path for path, _ in self.entries.items() ^ before.items()})


@dataclass(frozen=True)
class Repository:
    """A checkout of the project; it may be a folder of a larger repository."""

    folder: Path

    def tree(self, revision: str) -> Tree:
        """The project at a revision.

        Raises:
            DeliveryError: there is no such commit here.
        """
        commit = self.commit(revision)
        if commit is None:
            raise DeliveryError(
                f"there is no commit {revision!r} in {self.folder}: fetch it first (actions/checkout: fetch-depth: 0)"
            )
        entries = {}
        for line in filter(None, self._git("ls-tree", "-r", "-z", commit).split("\0")):
            kind, _, path = line.partition("\t")
            mode, _, blob = kind.split(" ")
            entries[path] = Entry(mode, blob)
        return Tree(commit, entries)

    def commit(self, revision: str) -> str | None:
        """The full id of a commit; None if it does not exist, as the zeros of GitHub.

        Raises:
            DeliveryError: Git refuses to read the repository, or there is none.
        """
        if revision.startswith("-"):
            return None
        # With --quiet, Git says nothing about a revision that does not exist; what it does say is a refusal.
        found = self._run(["rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}"])
        if refusal := found.stderr.decode(errors="replace").strip():
            raise DeliveryError(f"git cannot read {self.folder}: {refusal}")
        return found.stdout.decode().strip() or None

    def comes_before(self, older: str, newer: str) -> bool:
        """Whether a commit is an ancestor of another one; false where one of them is not here."""
        return older != newer and self._run(["merge-base", "--is-ancestor", older, newer]).returncode == 0

    def uncommitted(self) -> tuple[list[str], list[str]]:
        """Tracked paths that differ from HEAD, and untracked ones that Git does not ignore."""
        listed = self._git("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", ".")
        prefix = self._git("rev-parse", "--show-prefix").strip()
        lines = [(line[:2], line[3:].removeprefix(prefix)) for line in filter(None, listed.split("\0"))]
        changed = sorted(path for state, path in lines if state != "??")
        return changed, sorted(path for state, path in lines if state == "??")

    def contents(self, tree: Tree, paths: Iterable[str]) -> dict[str, bytes]:
        """Bytes of files as a clean checkout has them: filters (line ends, Git LFS) are applied.

        A shallow or partial clone may lack one, which is left out then.
        """
        wanted = list(paths)
        # Git answers the size before the filters, so a request for a random, missing name marks the end of each answer.
        border = secrets.token_hex(16)
        request = "".join(f"{tree.entries[path].blob} {path}\n{border}\n" for path in wanted)
        answer = self._run(["cat-file", "--batch", "--filters"], request.encode()).stdout
        found: dict[str, bytes] = {}
        for path, part in zip(wanted, answer.split(f"{border} missing\n".encode()), strict=False):
            header, _, content = part.partition(b"\n")
            if header.split()[1:2] == [b"blob"]:
                found[path] = content.removesuffix(b"\n")
        return found

    def _git(self, *arguments: str) -> str:
        done = self._run(list(arguments))
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip()
            raise DeliveryError(f"git {' '.join(arguments)} failed in {self.folder}: {message}")
        return done.stdout.decode(errors="backslashreplace")

    def _run(self, arguments: list[str], request: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "-C", str(self.folder), "--no-optional-locks", *arguments]
        try:
            return subprocess.run(command, input=request, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise DeliveryError("git is not installed; a plan is made from what Git tracks") from error
