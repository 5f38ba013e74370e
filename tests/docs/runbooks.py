"""Runs the commands of docs/operations.md, section by section."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from settings.load import PROJECT
from tests.cli.commands import slipway
from tests.fakes.gcloud import Gcloud

PAGE = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
_LOOP = re.compile(r"for (\w+) in ([^;]+); do (.+); done")


def lines(section: str) -> list[str]:
    """The shell lines of a section, in order, without comments; continued ones joined, loops unrolled."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", SECTIONS[section], flags=re.DOTALL):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            bare = line.partition("  #")[0].strip()
            found += list(_unrolled(bare))
    return found


def chosen(section: str, first: str = "", last: str = "") -> list[str]:
    """Lines of a section, from the one that begins with `first` to that with `last`."""
    found = lines(section)
    found = found[_index(found, first) :]
    return found[: _index(found, last) + 1] if last else found


def _unrolled(line: str) -> Iterator[str]:
    loop = _LOOP.fullmatch(line)
    if not loop:
        yield line
        return
    name, words, body = loop.groups()
    for word in words.split():
        yield body.replace(f"${name}", word)


@dataclass
class Operator:
    """Somebody who copies lines of the page.

    Attributes:
        names: What stands for the variables of the page, and for its words in capitals.
        gcloud: Takes the lines that begin so.
        folder: Where the shell is.
    """

    names: dict[str, str]
    gcloud: Gcloud | None = None
    folder: Path = PROJECT

    def run(self, section: str, first: str = "", last: str = "") -> list[str]:
        """Runs the lines of a section, from the one that begins with `first` to that with `last`; what they print."""
        return [self.do(line) for line in chosen(section, first, last)]

    def run_one(self, section: str, start: str) -> str:
        """Runs the first line of a section that begins so; what it prints."""
        return self.do(chosen(section, start)[0])

    def do(self, line: str) -> str:
        """Runs one line, which must succeed."""
        filled = re.sub(r"\$([A-Z]+)\b", lambda found: self.names[found[1]], line)
        filled = re.sub(r"(?<=[/#= ])([A-Z]{3,})\b", lambda found: self.names.get(found[1], found[1]), filled)
        program, *arguments = shlex.split(filled)
        if program == "slipway":
            done = slipway(*arguments)
            assert done.exit_code == 0, f"{filled}: {done.output}"
            return done.stdout
        if program == "gcloud":
            assert self.gcloud
            return self.gcloud.run(arguments)
        shell = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", filled],
            cwd=self.folder,
            env=os.environ | {"HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert shell.returncode == 0, f"{filled}: {shell.stderr}"
        return shell.stdout


def _index(found: list[str], start: str) -> int:
    return next(number for number, line in enumerate(found) if line.startswith(start))
