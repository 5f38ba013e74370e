"""`docker` as a script: knows what `Builder` gives it, and nothing else; a push puts the tag into a fake registry."""

import shlex
import sys
from pathlib import Path

# The first lines are a shell's and a string of Python's: a `#!` of the kernel takes no path with a space.
_DOCKER = """#!/bin/sh
'''exec' {python} "$0" "$@"
'''
import sys, urllib.request
log, arguments = {log!r}, sys.argv[1:]
with open(log, "a") as file:
    print(*arguments, file=file)
if arguments[0] == "build":
    assert arguments[1:4] == ["--platform", "linux/amd64", "--tag"] and arguments[-1] == ".", arguments
    assert open("Dockerfile").read()
elif arguments[0] == "push":
    host, _, rest = arguments[1].partition("/")
    name, _, tag = rest.rpartition(":")
    request = urllib.request.Request(f"http://{{host}}/v2/{{name}}/manifests/{{tag}}", method="PUT", data=b"x")
    assert urllib.request.urlopen(request).status == 201
else:
    sys.exit(f"unknown: {{arguments}}")
"""


def write_docker(folder: Path, log: Path) -> None:
    """Puts the script into a new folder; each call appends a line to `log`."""
    folder.mkdir()
    (folder / "docker").write_text(_DOCKER.format(python=shlex.quote(sys.executable), log=str(log)))
    (folder / "docker").chmod(0o755)
